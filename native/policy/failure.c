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

void buffer_visible(struct buffer *out, const char *text) {
  for (; *text != '\0'; text++) {
    if (is_control(*text))
      buffer_print(out, "\\x%02x", (unsigned)(unsigned char)*text);
    else
      buffer_byte(out, *text);
  }
}

void failure_line(const struct failure *why, const char *program, struct buffer *out) {
  buffer_print(out, "%s: %s: ", program, error_name(why->code));
  buffer_visible(out, why->what);
  size_t length = strlen(why->what);
  buffer_text(out, length > 0 && why->what[length - 1] == '.' ? " " : ". ");
  buffer_text(out, error_texts[why->code].remedy);
  buffer_byte(out, '\n');
}
