// The length-prefixed text that records, names and the like are written in (formats/README.md, "Field files"), read by a table of keys.
#pragma once
#include "policy/failure.h"

struct field {
  const char *value;
  size_t length;
};
// Puts a value into a member of what is filled; false for one that is not valid.
typedef bool field_take(void *member, const struct field *field);
typedef bool field_check(const char *at, size_t length);

struct field_key {
  const char *name;
  enum { FIELD_NEEDED, FIELD_ONCE, FIELD_MANY } times; // exactly once, at most once, any number
  size_t member; // its offset in what is filled
  field_take *take;
  field_check *check; // asked before, unless NULL
};
struct field_form {
  const char *kind;
  unsigned version; // the one that is written and read
  size_t most; // bytes
  const struct field_key *keys;
  size_t count; // at most 32
};

// RECORD_NEWER when a newer program wrote the file, whatever the rest says. What was filled before a mistake is to be freed.
bool fields_parse(const struct field_form *form, const char *at, size_t length, void *filled, struct failure *why) MUST_USE;
field_take field_text, field_word, field_id, field_ids, field_size; // char *, struct words, uint32_t, struct ids, uint64_t
