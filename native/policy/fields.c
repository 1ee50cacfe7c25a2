#include "policy/fields.h"

#include <string.h>

#include "limits.gen.h"

#define SUPPORTED_VERSION 1

static bool invalid(const struct field_reader *reader, const char *what, struct failure *why) {
  return fail(why, ERROR_RECORD_INVALID, "%s: %s", reader->kind, what);
}

bool fields_open(struct field_reader *reader, const char *kind, const char *at, size_t length, struct failure *why) {
  *reader = (struct field_reader){.kind = kind, .at = at, .end = at + length};
  size_t magic = strlen(kind);
  const char *line_end = length == 0 ? NULL : memchr(at, '\n', length);
  if (line_end == NULL || (size_t)(line_end - at) < magic + 2 || memcmp(at, kind, magic) != 0 || at[magic] != ' ')
    return invalid(reader, "the first line is not what this kind of file starts with", why);
  const char *digits = at + magic + 1;
  uint64_t version;
  if (!number_parse(digits, (size_t)(line_end - digits), 999999999, false, &version) || version == 0)
    return invalid(reader, "the version is not a number", why);
  if (version > SUPPORTED_VERSION)
    return fail(why, ERROR_RECORD_NEWER, "%s: version %u, this program knows %d", kind, (unsigned)version, SUPPORTED_VERSION);
  reader->at = line_end + 1;
  return true;
}

static size_t key_length(const char *at, const char *end) {
  const char *start = at;
  while (at < end && ((*at >= 'a' && *at <= 'z') || (at > start && ((*at >= '0' && *at <= '9') || *at == '-')))) at++;
  return (size_t)(at - start);
}

bool fields_next(struct field_reader *reader, struct field *field, bool *done, struct failure *why) {
  const char *at = reader->at, *end = reader->end;
  *done = false;
  if (end - at >= 4 && memcmp(at, "end\n", 4) == 0) {
    if (end - at > 4) return invalid(reader, "something follows the end", why);
    *done = true;
    return true;
  }
  if (++reader->count > LIMIT_FIELD_COUNT) return invalid(reader, "too many fields", why);
  field->key = at;
  field->key_length = key_length(at, end);
  at += field->key_length;
  if (field->key_length == 0 || at == end || *at++ != ' ') return invalid(reader, "a line is not a field", why);

  const char *colon = at == end ? NULL : memchr(at, ':', (size_t)(end - at));
  uint64_t length;
  if (colon == NULL || !number_parse(at, (size_t)(colon - at), LIMIT_RECORD_BYTES, false, &length))
    return invalid(reader, "a field has no valid length", why);
  field->value = colon + 1;
  // The value and the line end behind it must lie inside the file.
  if ((uint64_t)(end - field->value) <= length || field->value[length] != '\n')
    return invalid(reader, "a value does not end where its length says", why);
  field->value_length = (size_t)length;
  reader->at = field->value + length + 1;
  return true;
}
