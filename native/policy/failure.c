#include "policy/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool fail(struct failure *why, enum error_code code, const char *format, ...) {
  why->code = code;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(why->what, sizeof why->what, format, arguments);
  va_end(arguments);
  if (length >= (int)sizeof why->what) memcpy(why->what + sizeof why->what - 4, "...", 4);
  return false;
}

const char *error_name(enum error_code code) {
  return error_texts[code].name;
}

int error_exit(enum error_code code) {
  return error_texts[code].exit;
}

// How many bytes a terminal would take for an order and not for a letter: controls, those beyond ASCII in UTF-8 too, and what breaks a line
// or turns the direction of writing (U+2028 to U+202E, U+2066 to U+2069).
static size_t hidden(const unsigned char *at) {
  if (is_control((char)at[0])) return 1;
  if (at[0] == 0xc2) return at[1] >= 0x80 && at[1] <= 0x9f ? 2 : 0;
  if (at[0] != 0xe2) return 0;
  return (at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae) || (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9) ? 3 : 0;
}

void buffer_visible(struct buffer *out, const char *text) {
  while (*text != '\0') {
    size_t length = hidden((const unsigned char *)text);
    if (length == 0) buffer_byte(out, *text++);
    for (; length > 0; length--) buffer_print(out, "\\x%02x", (unsigned)(unsigned char)*text++);
  }
}

void failure_report(const struct failure *why, struct buffer *out) {
  buffer_print(out, "%s ", error_name(why->code));
  buffer_visible(out, why->what);
  buffer_byte(out, '\n');
}

void failure_line(const struct failure *why, const char *program, struct buffer *out) {
  buffer_print(out, "%s: %s: ", program, error_name(why->code));
  buffer_visible(out, why->what);
  size_t length = strlen(why->what);
  buffer_text(out, length > 0 && why->what[length - 1] == '.' ? " " : ". ");
  buffer_text(out, error_texts[why->code].remedy);
  buffer_byte(out, '\n');
}
