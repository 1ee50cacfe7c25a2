#include "policy/record.h"

#include <stdlib.h>
#include <string.h>

#include "limits.gen.h"
#include "policy/fields.h"
#include "policy/path.h"
#include "policy/reference.h"

static bool is_platform_part(const char *at, size_t length) {
  return image_id_is_valid(at, length) && memchr(at, '+', length) == NULL;
}

// os/arch[/variant]
static bool is_platform(const char *at, size_t length) {
  size_t parts = 0;
  for (struct part part = parts_of(at, length); part_next(&part, '/'); parts++)
    if (!is_platform_part(part.at, part.length)) return false;
  return parts == 2 || parts == 3;
}

static bool is_profile(const char *at, size_t length) {
  return length > 0 && !has_control(at, length);
}

static bool is_workdir(const char *at, size_t length) {
  return path_is_absolute(at, length) && memchr(at, '\0', length) == NULL;
}

bool env_setting_is_valid(const char *at, size_t length) {
  if (length > LIMIT_ENV_BYTES || length < 2 || at[0] == '=') return false;
  return memchr(at, '=', length) != NULL && memchr(at, '\0', length) == NULL;
}

// NAME, a NUL, and a value without one.
static bool take_label(void *member, const struct field *field) {
  const char *nul = memchr(field->value, '\0', field->length);
  if (nul == NULL || nul == field->value) return false;
  size_t name = (size_t)(nul - field->value);
  words_add(member, field->value, name);
  return field_word(member, &(struct field){nul + 1, field->length - name - 1});
}

static bool take_access(void *member, const struct field *field) {
  bool is_private = text_is(field->value, field->length, "private");
  *(bool *)member = is_private;
  return is_private || text_is(field->value, field->length, "public");
}

#define RECORD(member) offsetof(struct record, member)
static const struct field_key record_keys[] = {
    {"id", FIELD_NEEDED, RECORD(id), field_text, image_id_is_valid},
    {"reference", FIELD_NEEDED, RECORD(reference), field_text, reference_is_canonical},
    {"source-digest", FIELD_NEEDED, RECORD(source_digest), field_text, digest_is_valid},
    {"profile", FIELD_NEEDED, RECORD(profile), field_text, is_profile},
    {"platform", FIELD_NEEDED, RECORD(platform), field_text, is_platform},
    {"image-size", FIELD_NEEDED, RECORD(image_size), field_size, NULL},
    {"image-sha256", FIELD_NEEDED, RECORD(image_sha256), field_text, hash_is_valid},
    {"entries", FIELD_NEEDED, RECORD(entries), field_size, NULL},
    {"owner", FIELD_NEEDED, RECORD(owner), field_id, NULL},
    {"access", FIELD_NEEDED, RECORD(is_private), take_access, NULL},
    {"manifest-digest", FIELD_ONCE, RECORD(manifest_digest), field_text, digest_is_valid},
    {"workdir", FIELD_ONCE, RECORD(workdir), field_text, is_workdir},
    {"allow-uid", FIELD_MANY, RECORD(allow_uids), field_ids, NULL},
    {"allow-gid", FIELD_MANY, RECORD(allow_gids), field_ids, NULL},
    {"entrypoint", FIELD_MANY, RECORD(entrypoint), field_word, NULL},
    {"command", FIELD_MANY, RECORD(command), field_word, NULL},
    {"env", FIELD_MANY, RECORD(env), field_word, env_setting_is_valid},
    {"label", FIELD_MANY, RECORD(labels), take_label, NULL},
};

bool record_parse(const char *at, size_t length, struct record *record, struct failure *why) {
  static const struct field_form form = {"shifter-record", 1, LIMIT_RECORD_BYTES, record_keys, COUNT_OF(record_keys)};
  *record = (struct record){0};
  if (fields_parse(&form, at, length, record, why)) return true;
  record_free(record);
  return false;
}

void record_free(struct record *record) {
  char *texts[] = {record->id,      record->reference, record->source_digest, record->manifest_digest,
                   record->profile, record->platform,  record->image_sha256,  record->workdir};
  for (size_t i = 0; i < COUNT_OF(texts); i++) free(texts[i]);
  struct words *lists[] = {&record->entrypoint, &record->command, &record->env, &record->labels};
  for (size_t i = 0; i < COUNT_OF(lists); i++) words_free(lists[i]);
  ids_free(&record->allow_uids);
  ids_free(&record->allow_gids);
  *record = (struct record){0};
}

static const struct field_key name_keys[] = {
    {"id", FIELD_NEEDED, offsetof(struct name_entry, id), field_text, image_id_is_valid},
    {"reference", FIELD_NEEDED, offsetof(struct name_entry, reference), field_text, reference_is_canonical},
};

bool name_parse(const char *at, size_t length, struct name_entry *name, struct failure *why) {
  static const struct field_form form = {"shifter-name", 1, LIMIT_NAME_BYTES, name_keys, COUNT_OF(name_keys)};
  *name = (struct name_entry){0};
  if (fields_parse(&form, at, length, name, why)) return true;
  name_free(name);
  return false;
}

void name_free(struct name_entry *name) {
  free(name->reference);
  free(name->id);
  *name = (struct name_entry){0};
}
