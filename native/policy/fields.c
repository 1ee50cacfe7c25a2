#include "policy/fields.h"

#include <string.h>

#include "limits.gen.h"

static bool invalid(const struct field_form *form, const char *what, struct failure *why) {
  return fail(why, ERROR_RECORD_INVALID, "%s: %s", form->kind, what);
}

// The first line: "KIND VERSION". What follows it, or NULL.
static const char *read_version(const struct field_form *form, const char *at, size_t length, struct failure *why) {
  size_t magic = strlen(form->kind);
  const char *line_end = length == 0 ? NULL : memchr(at, '\n', length);
  if (line_end == NULL || (size_t)(line_end - at) < magic + 2 || memcmp(at, form->kind, magic) != 0 || at[magic] != ' ')
    return invalid(form, "the first line is not what this kind of file starts with", why), NULL;
  const char *digits = at + magic + 1;
  uint64_t version;
  if (!number_parse(digits, (size_t)(line_end - digits), 999999999, false, &version) || version < form->version)
    return invalid(form, "the version is not one that this program knows", why), NULL;
  if (version > form->version)
    return fail(why, ERROR_RECORD_NEWER, "%s: version %u, this program knows %u", form->kind, (unsigned)version, form->version), NULL;
  return line_end + 1;
}

static size_t key_length(const char *at, const char *end) {
  const char *start = at;
  while (at < end && ((*at >= 'a' && *at <= 'z') || (at > start && ((*at >= '0' && *at <= '9') || *at == '-')))) at++;
  return (size_t)(at - start);
}

// "LENGTH:VALUE" and a line end. What follows them, or NULL.
static const char *read_value(const struct field_form *form, const char *at, const char *end, struct field *field, struct failure *why) {
  const char *colon = at == end ? NULL : memchr(at, ':', (size_t)(end - at));
  uint64_t length;
  if (colon == NULL || !number_parse(at, (size_t)(colon - at), LIMIT_RECORD_BYTES, false, &length))
    return invalid(form, "a field has no valid length", why), NULL;
  const char *value = colon + 1;
  // The value and the line end behind it must lie inside the file.
  if ((uint64_t)(end - value) <= length || value[length] != '\n') return invalid(form, "a value does not end where its length says", why), NULL;
  *field = (struct field){value, (size_t)length};
  return value + length + 1;
}

static bool fill(const struct field_form *form, const char *name, size_t length, const struct field *field, void *filled, uint32_t *seen,
                 struct failure *why) {
  for (size_t i = 0; i < form->count; i++) {
    const struct field_key *key = &form->keys[i];
    if (!text_is(name, length, key->name)) continue;
    if ((*seen >> i & 1) != 0 && key->times != FIELD_MANY) return fail(why, ERROR_RECORD_INVALID, "%s: %s is there twice", form->kind, key->name);
    *seen |= UINT32_C(1) << i;
    bool valid = (key->check == NULL || key->check(field->value, field->length)) && key->take((char *)filled + key->member, field);
    if (!valid) fail(why, ERROR_RECORD_INVALID, "%s: %s is not valid", form->kind, key->name);
    return valid;
  }
  return fail(why, ERROR_RECORD_INVALID, "%s: unknown key %.*s", form->kind, (int)length, name);
}

bool fields_parse(const struct field_form *form, const char *at, size_t length, void *filled, struct failure *why) {
  if (length > form->most) return fail(why, ERROR_RECORD_INVALID, "%s: larger than %zu bytes", form->kind, form->most);
  const char *end = at + length;
  uint32_t seen = 0;
  size_t count = 0;
  if ((at = read_version(form, at, length, why)) == NULL) return false;
  while (end - at < 4 || memcmp(at, "end\n", 4) != 0) {
    if (++count > LIMIT_FIELD_COUNT) return invalid(form, "too many fields", why);
    struct field field;
    const char *name = at;
    size_t name_length = key_length(at, end);
    at += name_length;
    if (name_length == 0 || at == end || *at != ' ') return invalid(form, "a line is not a field", why);
    if ((at = read_value(form, at + 1, end, &field, why)) == NULL) return false;
    if (!fill(form, name, name_length, &field, filled, &seen, why)) return false;
  }
  if (end - at > 4) return invalid(form, "something follows the end", why);
  for (size_t i = 0; i < form->count; i++)
    if (form->keys[i].times == FIELD_NEEDED && (seen >> i & 1) == 0)
      return fail(why, ERROR_RECORD_INVALID, "%s: %s is missing", form->kind, form->keys[i].name);
  return true;
}

bool field_text(void *member, const struct field *field) {
  *(char **)member = memory_copy(field->value, field->length);
  return true;
}

bool field_word(void *member, const struct field *field) {
  if (memchr(field->value, '\0', field->length) != NULL) return false;
  words_add(member, field->value, field->length);
  return true;
}

bool field_id(void *member, const struct field *field) {
  uint64_t id;
  if (!number_parse(field->value, field->length, LARGEST_ID, false, &id)) return false;
  *(uint32_t *)member = (uint32_t)id;
  return true;
}

bool field_ids(void *member, const struct field *field) {
  struct ids *ids = member;
  uint32_t id;
  if (ids->count >= LIMIT_ACL_IDS || !field_id(&id, field)) return false;
  ids_add(ids, id);
  return true;
}

bool field_size(void *member, const struct field *field) {
  return number_parse(field->value, field->length, LARGEST_SIZE, false, member);
}
