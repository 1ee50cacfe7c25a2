// Why something was refused: a code of formats/errors.json and what and where. One function words it.
#pragma once
#include "errors.gen.h"
#include "policy/base.h"

struct failure {
  enum error_code code;
  char what[1024];
};

struct error_text {
  const char *name, *means, *remedy;
  int exit;
};
extern const struct error_text error_texts[ERROR_COUNT];

// Always false, so that a function can `return fail(...)`.
bool fail(struct failure *why, enum error_code code, const char *format, ...) PRINTF_LIKE(3, 4);
const char *error_name(enum error_code code);
int error_exit(enum error_code code);
// For programs: "CODE what\n".
void failure_report(const struct failure *why, struct buffer *out);
// "PROGRAM: CODE: what. remedy\n", one line whatever `what` holds.
void failure_line(const struct failure *why, const char *program, struct buffer *out);
// The bytes of `text` with control characters as \xHH.
void buffer_visible(struct buffer *out, const char *text);
