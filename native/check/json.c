#include "check/json.h"

#include <string.h>

// Length of the well-formed UTF-8 sequence at the start, and its character; 0 when there is none.
static size_t sequence(const unsigned char *at, size_t length, uint32_t *code) {
  static const struct {
    unsigned char mask, lead;
    uint32_t least;
  } kinds[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
  for (size_t size = 1; size <= 4; size++) {
    if ((at[0] & kinds[size - 1].mask) != kinds[size - 1].lead) continue;
    if (size > length) return 0;
    *code = at[0] & (unsigned char)~kinds[size - 1].mask;
    for (size_t i = 1; i < size; i++) {
      if ((at[i] & 0xc0) != 0x80) return 0;
      *code = *code << 6 | (at[i] & 0x3fU);
    }
    bool valid = *code >= kinds[size - 1].least && *code <= 0x10ffff && !(*code >= 0xd800 && *code <= 0xdfff);
    return valid ? size : 0;
  }
  return 0;
}

static void escape(struct buffer *out, uint32_t code) {
  static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
  const char *simple = code != 0 && code < 0x80 ? strchr(from, (int)code) : NULL;
  if (simple != NULL) {
    buffer_byte(out, '\\');
    buffer_byte(out, to[simple - from]);
  } else if (code >= 0x20 && code < 0x7f) {
    buffer_byte(out, (char)code);
  } else if (code < 0x10000) {
    buffer_print(out, "\\u%04x", code);
  } else {
    buffer_print(out, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10), 0xdc00 + (code & 0x3ff));
  }
}

void json_string(struct buffer *out, const char *at, size_t length) {
  buffer_byte(out, '"');
  for (size_t i = 0; i < length;) {
    uint32_t code;
    size_t size = sequence((const unsigned char *)at + i, length - i, &code);
    if (size == 0) code = 0xdc00U + (unsigned char)at[i];
    escape(out, code);
    i += size == 0 ? 1 : size;
  }
  buffer_byte(out, '"');
}

void json_text(struct buffer *out, const char *text) {
  if (text == NULL)
    buffer_text(out, "null");
  else
    json_string(out, text, strlen(text));
}

void json_key(struct buffer *out, const char *key) {
  if (out->length > 0 && out->at[out->length - 1] != '{') buffer_byte(out, ',');
  json_text(out, key);
  buffer_byte(out, ':');
}

void json_words(struct buffer *out, const struct words *words) {
  buffer_byte(out, '[');
  for (size_t i = 0; i < words->count; i++) {
    if (i > 0) buffer_byte(out, ',');
    json_text(out, words->items[i]);
  }
  buffer_byte(out, ']');
}

void json_ids(struct buffer *out, const struct ids *ids) {
  buffer_byte(out, '[');
  for (size_t i = 0; i < ids->count; i++) buffer_print(out, "%s%u", i > 0 ? "," : "", ids->items[i]);
  buffer_byte(out, ']');
}
