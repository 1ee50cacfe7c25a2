#include "policy/record.h"

#include <stdlib.h>
#include <string.h>

#include "limits.gen.h"
#include "policy/fields.h"
#include "policy/path.h"
#include "policy/reference.h"

enum key {
  KEY_ID, KEY_REFERENCE, KEY_SOURCE_DIGEST, KEY_PROFILE, KEY_PLATFORM, KEY_IMAGE_SIZE, KEY_IMAGE_SHA256, KEY_ENTRIES, KEY_OWNER, KEY_ACCESS,
  KEY_MANIFEST_DIGEST, KEY_WORKDIR, KEY_ALLOW_UID, KEY_ALLOW_GID, KEY_ENTRYPOINT, KEY_COMMAND, KEY_ENV, KEY_LABEL, KEY_COUNT
};
#define REQUIRED_KEYS KEY_MANIFEST_DIGEST // those before it must be there
#define SINGLE_KEYS KEY_ALLOW_UID         // those before it may be there once

static const char *const key_names[KEY_COUNT] = {
    [KEY_ID] = "id", [KEY_REFERENCE] = "reference", [KEY_SOURCE_DIGEST] = "source-digest", [KEY_PROFILE] = "profile",
    [KEY_PLATFORM] = "platform", [KEY_IMAGE_SIZE] = "image-size", [KEY_IMAGE_SHA256] = "image-sha256", [KEY_ENTRIES] = "entries",
    [KEY_OWNER] = "owner", [KEY_ACCESS] = "access", [KEY_MANIFEST_DIGEST] = "manifest-digest", [KEY_WORKDIR] = "workdir",
    [KEY_ALLOW_UID] = "allow-uid", [KEY_ALLOW_GID] = "allow-gid", [KEY_ENTRYPOINT] = "entrypoint", [KEY_COMMAND] = "command",
    [KEY_ENV] = "env", [KEY_LABEL] = "label"};

static bool is_hex_hash(const char *at, size_t length) {
  if (length != 64) return false;
  for (size_t i = 0; i < length; i++)
    if (!((at[i] >= '0' && at[i] <= '9') || (at[i] >= 'a' && at[i] <= 'f'))) return false;
  return true;
}

static bool is_digest(const char *at, size_t length) {
  return length > 7 && memcmp(at, "sha256:", 7) == 0 && is_hex_hash(at + 7, length - 7);
}

static bool is_platform_part(const char *at, size_t length) {
  return image_id_is_valid(at, length) && memchr(at, '+', length) == NULL;
}

// os/arch[/variant]
static bool is_platform(const char *at, size_t length) {
  size_t parts = 0;
  for (size_t start = 0; start <= length; parts++) {
    size_t end = start;
    while (end < length && at[end] != '/') end++;
    if (!is_platform_part(at + start, end - start)) return false;
    start = end + 1;
  }
  return parts == 2 || parts == 3;
}

bool env_setting_is_valid(const char *at, size_t length) {
  if (length > LIMIT_ENV_BYTES || length < 2 || at[0] == '=') return false;
  return memchr(at, '=', length) != NULL && memchr(at, '\0', length) == NULL;
}

static bool take_text(char **out, bool valid, const struct field *field) {
  if (!valid) return false;
  *out = memory_copy(field->value, field->value_length);
  return true;
}

static bool take_word(struct words *out, const struct field *field) {
  if (field->value_length > 0 && memchr(field->value, '\0', field->value_length) != NULL) return false;
  words_add(out, field->value, field->value_length);
  return true;
}

static bool take_id(struct ids *out, const struct field *field) {
  uint64_t id;
  if (out->count >= LIMIT_ACL_IDS || !number_parse(field->value, field->value_length, LARGEST_ID, false, &id)) return false;
  ids_add(out, (uint32_t)id);
  return true;
}

static bool take_label(struct record *record, const struct field *field) {
  const char *value = field->value_length == 0 ? NULL : memchr(field->value, '\0', field->value_length);
  if (value == NULL || value == field->value) return false;
  size_t name_length = (size_t)(value++ - field->value), value_length = field->value_length - name_length - 1;
  if (value_length > 0 && memchr(value, '\0', value_length) != NULL) return false;
  words_add(&record->label_names, field->value, name_length);
  words_add(&record->label_values, value, value_length);
  return true;
}

static bool take_access(struct record *record, const struct field *field) {
  record->is_private = text_is(field->value, field->value_length, "private");
  return record->is_private || text_is(field->value, field->value_length, "public");
}

static bool take_field(struct record *record, enum key key, const struct field *field) {
  const char *at = field->value;
  size_t length = field->value_length;
  uint64_t number;
  switch (key) {
  case KEY_ID:
    return take_text(&record->id, image_id_is_valid(at, length), field);
  case KEY_REFERENCE:
    return take_text(&record->reference, reference_is_canonical(at, length), field);
  case KEY_SOURCE_DIGEST:
    return take_text(&record->source_digest, is_digest(at, length), field);
  case KEY_MANIFEST_DIGEST:
    return take_text(&record->manifest_digest, is_digest(at, length), field);
  case KEY_PROFILE:
    return take_text(&record->profile, length > 0 && !has_control(at, length), field);
  case KEY_PLATFORM:
    return take_text(&record->platform, is_platform(at, length), field);
  case KEY_IMAGE_SHA256:
    return take_text(&record->image_sha256, is_hex_hash(at, length), field);
  case KEY_WORKDIR:
    return take_text(&record->workdir, path_is_absolute(at, length) && memchr(at, '\0', length) == NULL, field);
  case KEY_IMAGE_SIZE:
    return number_parse(at, length, LARGEST_SIZE, false, &record->image_size);
  case KEY_ENTRIES:
    return number_parse(at, length, LARGEST_SIZE, false, &record->entries);
  case KEY_OWNER:
    if (!number_parse(at, length, LARGEST_ID, false, &number)) return false;
    record->owner = (uint32_t)number;
    return true;
  case KEY_ACCESS:
    return take_access(record, field);
  case KEY_ALLOW_UID:
    return take_id(&record->allow_uids, field);
  case KEY_ALLOW_GID:
    return take_id(&record->allow_gids, field);
  case KEY_ENTRYPOINT:
    return take_word(&record->entrypoint, field);
  case KEY_COMMAND:
    return take_word(&record->command, field);
  case KEY_ENV:
    return env_setting_is_valid(at, length) && take_word(&record->env, field);
  case KEY_LABEL:
    return take_label(record, field);
  case KEY_COUNT:
    break;
  }
  return false;
}

static enum key find_key(const struct field *field) {
  for (size_t i = 0; i < KEY_COUNT; i++)
    if (text_is(field->key, field->key_length, key_names[i])) return (enum key)i;
  return KEY_COUNT;
}

static bool fill_record(struct field_reader *reader, struct record *record, struct failure *why) {
  bool seen[KEY_COUNT] = {false}, done;
  struct field field;
  for (;;) {
    if (!fields_next(reader, &field, &done, why)) return false;
    if (done) break;
    enum key key = find_key(&field);
    if (key == KEY_COUNT) return fail(why, ERROR_RECORD_INVALID, "%s: unknown key %.*s", reader->kind, (int)field.key_length, field.key);
    if (seen[key] && key < SINGLE_KEYS) return fail(why, ERROR_RECORD_INVALID, "%s: %s is there twice", reader->kind, key_names[key]);
    seen[key] = true;
    if (!take_field(record, key, &field)) return fail(why, ERROR_RECORD_INVALID, "%s: %s is not valid", reader->kind, key_names[key]);
  }
  for (size_t i = 0; i < REQUIRED_KEYS; i++)
    if (!seen[i]) return fail(why, ERROR_RECORD_INVALID, "%s: %s is missing", reader->kind, key_names[i]);
  return true;
}

bool record_parse(const char *at, size_t length, struct record *record, struct failure *why) {
  *record = (struct record){0};
  if (length > LIMIT_RECORD_BYTES) return fail(why, ERROR_RECORD_INVALID, "shifter-record: larger than %d bytes", LIMIT_RECORD_BYTES);
  struct field_reader reader;
  if (!fields_open(&reader, "shifter-record", at, length, why)) return false;
  if (fill_record(&reader, record, why)) return true;
  record_free(record);
  return false;
}

void record_free(struct record *record) {
  char *texts[] = {record->id,      record->reference, record->source_digest, record->manifest_digest,
                   record->profile, record->platform,  record->image_sha256,  record->workdir};
  for (size_t i = 0; i < COUNT_OF(texts); i++) free(texts[i]);
  struct words *lists[] = {&record->entrypoint, &record->command, &record->env, &record->label_names, &record->label_values};
  for (size_t i = 0; i < COUNT_OF(lists); i++) words_free(lists[i]);
  ids_free(&record->allow_uids);
  ids_free(&record->allow_gids);
  *record = (struct record){0};
}

static bool fill_name(struct field_reader *reader, struct name_entry *name, struct failure *why) {
  bool done;
  struct field field;
  for (;;) {
    if (!fields_next(reader, &field, &done, why)) return false;
    if (done) break;
    bool is_id = text_is(field.key, field.key_length, "id");
    if (!is_id && !text_is(field.key, field.key_length, "reference"))
      return fail(why, ERROR_RECORD_INVALID, "%s: unknown key %.*s", reader->kind, (int)field.key_length, field.key);
    char **out = is_id ? &name->id : &name->reference;
    if (*out != NULL) return fail(why, ERROR_RECORD_INVALID, "%s: %s is there twice", reader->kind, is_id ? "id" : "reference");
    bool valid = (is_id ? image_id_is_valid : reference_is_canonical)(field.value, field.value_length);
    if (!take_text(out, valid, &field))
      return fail(why, ERROR_RECORD_INVALID, "%s: %s is not valid", reader->kind, is_id ? "id" : "reference");
  }
  if (name->id == NULL || name->reference == NULL) return fail(why, ERROR_RECORD_INVALID, "%s: a key is missing", reader->kind);
  return true;
}

bool name_parse(const char *at, size_t length, struct name_entry *name, struct failure *why) {
  *name = (struct name_entry){0};
  if (length > LIMIT_NAME_BYTES) return fail(why, ERROR_RECORD_INVALID, "shifter-name: larger than %d bytes", LIMIT_NAME_BYTES);
  struct field_reader reader;
  if (!fields_open(&reader, "shifter-name", at, length, why)) return false;
  if (fill_name(&reader, name, why)) return true;
  name_free(name);
  return false;
}

void name_free(struct name_entry *name) {
  free(name->reference);
  free(name->id);
  *name = (struct name_entry){0};
}
