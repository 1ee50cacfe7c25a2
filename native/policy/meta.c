#include "policy/meta.h"

#include <stdlib.h>
#include <string.h>

#include "limits.gen.h"
#include "policy/path.h"
#include "policy/record.h"

enum key { KEY_FORMAT, KEY_ENTRY, KEY_CMD, KEY_WORKDIR, KEY_USERACL, KEY_GROUPACL, KEY_USER, KEY_ENV, KEY_VOLUME };
#define KEY_COUNT (KEY_VOLUME + 1)       // also: no known key
#define SINGLE_KEYS KEY_ENV // those before it may be there once

static const char *const key_names[KEY_COUNT] = {
    [KEY_FORMAT] = "FORMAT", [KEY_ENTRY] = "ENTRY", [KEY_CMD] = "CMD", [KEY_WORKDIR] = "WORKDIR", [KEY_USERACL] = "USERACL",
    [KEY_GROUPACL] = "GROUPACL", [KEY_USER] = "USER", [KEY_ENV] = "ENV", [KEY_VOLUME] = "VOLUME"};

static bool hex(const char *at, size_t digits, uint32_t *value) {
  *value = 0;
  for (size_t i = 0; i < digits; i++) {
    uint32_t digit = (uint32_t)hex_digit(at[i]);
    if (digit > 15) return false;
    *value = *value * 16 + digit;
  }
  return true;
}

static void add_utf8(struct buffer *out, uint32_t code) {
  if (code < 0x80) {
    buffer_byte(out, (char)code);
  } else if (code < 0x800) {
    buffer_byte(out, (char)(0xc0 | (code >> 6)));
    buffer_byte(out, (char)(0x80 | (code & 0x3f)));
  } else {
    buffer_byte(out, (char)(0xe0 | (code >> 12)));
    buffer_byte(out, (char)(0x80 | ((code >> 6) & 0x3f)));
    buffer_byte(out, (char)(0x80 | (code & 0x3f)));
  }
}

// One of Python's escapes, behind the backslash. Returns what it read, 0 for what it does not know.
static size_t escape(const char *at, size_t length, struct buffer *out) {
  static const char from[] = "\\'\"nrt", to[] = "\\'\"\n\r\t";
  if (length == 0 || at[0] == '\0') return 0;
  const char *simple = strchr(from, at[0]);
  if (simple != NULL) {
    buffer_byte(out, to[simple - from]);
    return 1;
  }
  uint32_t code;
  size_t digits = at[0] == 'x' ? 2 : at[0] == 'u' ? 4 : 0;
  if (digits == 0 || length <= digits || !hex(at + 1, digits, &code) || code == 0 || (code >= 0xd800 && code <= 0xdfff)) return 0;
  if (digits == 2)
    buffer_byte(out, (char)code);
  else
    add_utf8(out, code);
  return 1 + digits;
}

// A quoted element, its quote being at[0]. Returns what it read, 0 for a mistake.
static size_t quoted(const char *at, size_t length, struct words *out) {
  AUTO_BUFFER word = {0};
  buffer_text(&word, "");
  for (size_t i = 1; i < length;) {
    if (at[i] == at[0]) {
      words_add(out, word.at, word.length);
      return i + 1;
    }
    if (at[i] != '\\') {
      buffer_byte(&word, at[i++]);
      continue;
    }
    size_t read = escape(at + i + 1, length - i - 1, &word);
    if (read == 0) return 0;
    i += 1 + read;
  }
  return 0;
}

static bool is_quote(const char *at, size_t length, size_t i) {
  return i < length && (at[i] == '\'' || at[i] == '"');
}

static size_t skip_blanks(const char *at, size_t length, size_t i) {
  while (i < length && is_blank(at[i])) i++;
  return i;
}

static bool is_list(const char *at, size_t length) {
  if (length < 2 || at[0] != '[') return false;
  return at[1] == ']' || is_quote(at, length, 1) || (at[1] == 'u' && is_quote(at, length, 2));
}

bool meta_words(const char *at, size_t length, struct words *out) {
  if (!is_list(at, length)) {
    words_add(out, at, length);
    return true;
  }
  if (at[1] == ']') return length == 2;
  for (size_t i = 1;;) {
    if (i < length && at[i] == 'u') i++;
    if (!is_quote(at, length, i) || out->count >= LIMIT_FIELD_COUNT) return false;
    size_t read = quoted(at + i, length - i, out);
    if (read == 0) return false;
    i = skip_blanks(at, length, i + read);
    if (i == length) return false;
    if (at[i] == ']') return i + 1 == length;
    if (at[i] != ',') return false;
    i = skip_blanks(at, length, i + 1);
  }
}

bool meta_ids(const char *at, size_t length, struct ids *out) {
  for (struct part part = parts_of(at, length); part_next(&part, ',');) {
    uint64_t id;
    trim(&part.at, &part.length);
    if (part.length == 0) continue;
    if (out->count >= LIMIT_ACL_IDS || !number_parse(part.at, part.length, LARGEST_ID, true, &id)) return false;
    ids_add(out, (uint32_t)id);
  }
  // A list that was meant to name someone must not turn into "public".
  return out->count > 0 || memchr(at, ',', length) == NULL;
}

static bool take_line(struct meta *meta, enum key key, const char *value, size_t length) {
  switch (key) {
  case KEY_FORMAT:
    return text_is(value, length, "squashfs");
  case KEY_ENTRY:
    meta->has_entrypoint = true;
    return meta_words(value, length, &meta->entrypoint);
  case KEY_CMD:
    meta->has_command = true;
    return meta_words(value, length, &meta->command);
  case KEY_WORKDIR:
    if (length > 0 && !path_is_absolute(value, length)) return false;
    if (length > 0) meta->workdir = memory_copy(value, length);
    return true;
  case KEY_USERACL:
    return meta_ids(value, length, &meta->user_acl);
  case KEY_GROUPACL:
    return meta_ids(value, length, &meta->group_acl);
  case KEY_ENV:
    if (!env_setting_is_valid(value, length)) return false;
    words_add(&meta->env, value, length);
    return true;
  case KEY_USER:
  case KEY_VOLUME:
  default:
    break; // the runtime has no use for them
  }
  return true;
}

// Cuts a line at its first ": " or a trailing ":".
static enum key find_key(const char *line, size_t length, size_t *value) {
  const char *cut = memmem(line, length, ": ", 2);
  size_t key = cut != NULL ? (size_t)(cut - line) : length - 1;
  if (cut == NULL && line[length - 1] != ':') return (enum key)KEY_COUNT;
  *value = cut != NULL ? key + 2 : length;
  for (size_t i = 0; i < KEY_COUNT; i++)
    if (text_is(line, key, key_names[i])) return (enum key)i;
  return (enum key)KEY_COUNT;
}

static bool fill_meta(const char *at, size_t length, struct meta *meta, struct failure *why) {
  bool seen[KEY_COUNT] = {false};
  size_t number = 0, used = 0;
  for (struct part line = parts_of(at, length); part_next(&line, '\n');) {
    size_t value = 0;
    number++;
    if (skip_blanks(line.at, line.length, 0) == line.length) continue;
    if (++used > LIMIT_FIELD_COUNT) return fail(why, ERROR_RECORD_INVALID, ".meta: too many lines");
    enum key key = find_key(line.at, line.length, &value);
    if (key == KEY_COUNT) return fail(why, ERROR_RECORD_INVALID, ".meta line %zu: no known key", number);
    if (seen[key] && key < SINGLE_KEYS) return fail(why, ERROR_RECORD_INVALID, ".meta line %zu: %s is there twice", number, key_names[key]);
    seen[key] = true;
    if (!take_line(meta, key, line.at + value, line.length - value))
      return fail(why, ERROR_RECORD_INVALID, ".meta line %zu: %s is not valid", number, key_names[key]);
  }
  if (!seen[KEY_FORMAT]) return fail(why, ERROR_RECORD_INVALID, ".meta: FORMAT is missing");
  return true;
}

bool meta_parse(const char *at, size_t length, struct meta *meta, struct failure *why) {
  *meta = (struct meta){0};
  if (length > LIMIT_META_BYTES) return fail(why, ERROR_RECORD_INVALID, ".meta: larger than %d bytes", LIMIT_META_BYTES);
  if (length > 0 && memchr(at, '\0', length) != NULL) return fail(why, ERROR_RECORD_INVALID, ".meta: a NUL byte");
  if (fill_meta(at, length, meta, why)) return true;
  meta_free(meta);
  return false;
}

void meta_free(struct meta *meta) {
  struct words *lists[] = {&meta->entrypoint, &meta->command, &meta->env};
  for (size_t i = 0; i < COUNT_OF(lists); i++) words_free(lists[i]);
  ids_free(&meta->user_acl);
  ids_free(&meta->group_acl);
  free(meta->workdir);
  *meta = (struct meta){0};
}
