// The length-prefixed text that records and names are written in (formats/README.md, "Field files").
#pragma once
#include "policy/failure.h"

struct field {
  const char *key, *value;
  size_t key_length, value_length;
};

struct field_reader {
  const char *kind, *at, *end;
  size_t count;
};

// Checks magic and version; RECORD_NEWER when a newer program wrote the file, whatever the rest says.
bool fields_open(struct field_reader *reader, const char *kind, const char *at, size_t length, struct failure *why) MUST_USE;
// The next field, or *done after the end line with nothing behind it.
bool fields_next(struct field_reader *reader, struct field *field, bool *done, struct failure *why) MUST_USE;
