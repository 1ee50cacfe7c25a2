#include "policy/prepared.h"

#include <stdlib.h>
#include <string.h>

#include "limits.gen.h"
#include "policy/environment.h"
#include "policy/reference.h"

static bool is_number(const char *at, size_t length) {
  uint64_t number;
  return number_parse(at, length, INT64_MAX, false, &number);
}

bool job_is_valid(const char *job) {
  size_t length = strspn(job, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@[]-");
  return length > 0 && length <= 128 && job[length] == '\0' && strcmp(job, ".") != 0 && strcmp(job, "..") != 0;
}

// "DEVICE:INODE"
static bool is_pair(const char *at, size_t length) {
  const char *colon = length == 0 ? NULL : memchr(at, ':', length);
  return colon != NULL && is_number(at, (size_t)(colon - at)) && is_number(colon + 1, length - (size_t)(colon - at) - 1);
}

static bool is_job(const char *at, size_t length) {
  AUTO_FREE char *job = memory_copy(at, length);
  return strlen(job) == length && job_is_valid(job);
}

// PLACE/NAME
static bool is_pin(const char *at, size_t length) {
  AUTO_FREE char *pin = memory_copy(at, length), *uid = NULL, *job = NULL;
  const char *slash = strchr(pin, '/');
  size_t place = slash == NULL ? 0 : (size_t)(slash - pin);
  bool numbered = place > 5 && memcmp(pin, "pins.", 5) == 0 && is_number(pin + 5, place - 5);
  return (numbered || text_is(pin, place, "pins")) && strlen(pin) == length && pin_parse(slash + 1, &uid, &job);
}

static bool is_text(const char *at, size_t length) {
  return !has_control(at, length);
}

static bool field_bytes(void *member, const struct field *field) {
  buffer_add(member, field->value, field->length);
  return true;
}

#define FIELD(index) offsetof(struct prepared, fields) + (index) * sizeof(struct buffer), field_bytes
const struct field_key prepared_keys[] = {
    [PREPARED_JOB] = {"job", FIELD_NEEDED, FIELD(PREPARED_JOB), is_job},
    [PREPARED_UID] = {"uid", FIELD_NEEDED, FIELD(PREPARED_UID), is_number},
    [PREPARED_GID] = {"gid", FIELD_NEEDED, FIELD(PREPARED_GID), is_number},
    [PREPARED_GROUPS] = {"groups", FIELD_NEEDED, FIELD(PREPARED_GROUPS), is_text},
    [PREPARED_CONFIGURATION] = {"configuration", FIELD_NEEDED, FIELD(PREPARED_CONFIGURATION), hash_is_valid},
    [PREPARED_BOOT] = {"boot", FIELD_NEEDED, FIELD(PREPARED_BOOT), is_text},
    [PREPARED_BUILD] = {"build", FIELD_NEEDED, FIELD(PREPARED_BUILD), is_text},
    [PREPARED_MODULES] = {"modules", FIELD_ONCE, FIELD(PREPARED_MODULES), is_text},
    [PREPARED_VOLUMES] = {"volumes", FIELD_ONCE, FIELD(PREPARED_VOLUMES), is_text},
    [PREPARED_VIEW] = {"view", FIELD_NEEDED, FIELD(PREPARED_VIEW), is_text},
    [PREPARED_IMAGE] = {"image", FIELD_NEEDED, FIELD(PREPARED_IMAGE), image_id_is_valid},
    [PREPARED_RECORD] = {"record", FIELD_ONCE, FIELD(PREPARED_RECORD), NULL},
    [PREPARED_META] = {"meta", FIELD_ONCE, FIELD(PREPARED_META), NULL},
    [PREPARED_NODES] = {"nodes", FIELD_ONCE, FIELD(PREPARED_NODES), hash_is_valid},
    [PREPARED_PIN] = {"pin", FIELD_NEEDED, FIELD(PREPARED_PIN), is_pin},
    [PREPARED_NAMESPACE] = {"namespace", FIELD_NEEDED, FIELD(PREPARED_NAMESPACE), is_pair},
    [PREPARED_LOOP] = {"loop", FIELD_NEEDED, FIELD(PREPARED_LOOP), is_number},
    [PREPARED_FILE] = {"file", FIELD_NEEDED, FIELD(PREPARED_FILE), is_pair},
    [PREPARED_MADE] = {"made", FIELD_NEEDED, FIELD(PREPARED_MADE), is_number},
    {"reference", FIELD_MANY, offsetof(struct prepared, references), field_word, reference_is_canonical},
};

bool prepared_parse(const char *at, size_t length, struct prepared *entry, struct failure *why) {
  static const struct field_form form = {PREPARED_KIND, PREPARED_VERSION, 2 * LIMIT_RECORD_BYTES, prepared_keys, COUNT_OF(prepared_keys)};
  *entry = (struct prepared){0};
  bool read = fields_parse(&form, at, length, entry, why);
  bool record = entry->fields[PREPARED_RECORD].at != NULL, meta = entry->fields[PREPARED_META].at != NULL;
  if (read && record != meta && entry->references.count > 0) return true;
  if (read) fail(why, ERROR_RECORD_INVALID, PREPARED_KIND ": a reference, and a record or meta and not both, must be there");
  prepared_free(entry);
  return false;
}

void prepared_free(struct prepared *entry) {
  for (size_t i = 0; i < PREPARED_COUNT; i++) buffer_free(&entry->fields[i]);
  words_free(&entry->references);
}

bool prepared_same(const struct prepared *one, const struct prepared *other, enum prepared_field first, enum prepared_field last) {
  for (size_t i = first; i <= last; i++) {
    const struct buffer *mine = &one->fields[i], *theirs = &other->fields[i];
    if (mine->length != theirs->length || (mine->length > 0 && memcmp(mine->at, theirs->at, mine->length) != 0)) return false;
  }
  return true;
}

const char *prepared_text(const struct prepared *entry, enum prepared_field field) {
  return entry->fields[field].at == NULL ? "" : entry->fields[field].at;
}

uint64_t prepared_number(const struct prepared *entry, enum prepared_field field) {
  uint64_t number;
  const struct buffer *text = &entry->fields[field];
  return number_parse(text->at, text->length, INT64_MAX, false, &number) ? number : 0;
}

static int compare_ids(const void *one, const void *other) {
  uint32_t first = *(const uint32_t *)one, second = *(const uint32_t *)other;
  return (first > second) - (first < second);
}

void prepared_groups(uint32_t gid, const struct ids *groups, struct buffer *out) {
  struct ids sorted = {0};
  ids_add(&sorted, gid);
  for (size_t i = 0; i < groups->count; i++) ids_add(&sorted, groups->items[i]);
  qsort(sorted.items, sorted.count, sizeof *sorted.items, compare_ids);
  for (size_t i = 0; i < sorted.count; i++)
    if (i == 0 || sorted.items[i] != sorted.items[i - 1]) buffer_print(out, "%s%u", i == 0 ? "" : ",", sorted.items[i]);
  ids_free(&sorted);
}

void job_hints(char *const *environment, struct words *jobs) {
  static const char *const names[] = {"SHIFTER_JOB_ID", "SLURM_JOB_ID", "PBS_JOBID"};
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    const char *job = environment_value(environment, names[i]);
    if (job != NULL && job_is_valid(job) && !words_hold(jobs, job)) words_add_text(jobs, job);
  }
  if (!words_hold(jobs, NODE_JOB)) words_add_text(jobs, NODE_JOB);
}

bool pin_parse(const char *name, char **uid, char **job) {
  size_t length = strcspn(name, ".");
  const char *random = name[length] == '.' ? name + length + 1 : "";
  if (!is_number(name, length) || strspn(random, "0123456789abcdef") != 16 || random[16] != '.' || !job_is_valid(random + 17)) return false;
  *uid = memory_copy(name, length);
  *job = memory_copy(random + 17, strlen(random + 17));
  return true;
}
