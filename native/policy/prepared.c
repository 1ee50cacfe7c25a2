#include "policy/prepared.h"

#include <stdlib.h>
#include <string.h>

#include "policy/environment.h"
#include "policy/fields.h"
#include "policy/reference.h"

#define MAGIC "shifter-root"

enum form { FORM_TEXT, FORM_BYTES, FORM_NUMBER, FORM_PAIR, FORM_HASH, FORM_JOB, FORM_IMAGE, FORM_PIN };

static const struct {
  const char *name;
  enum form form;
  bool required;
} keys[PREPARED_COUNT] = {
    [PREPARED_JOB] = {"job", FORM_JOB, true},
    [PREPARED_UID] = {"uid", FORM_NUMBER, true},
    [PREPARED_GID] = {"gid", FORM_NUMBER, true},
    [PREPARED_GROUPS] = {"groups", FORM_TEXT, true},
    [PREPARED_CONFIGURATION] = {"configuration", FORM_HASH, true},
    [PREPARED_BUILD] = {"build", FORM_TEXT, true},
    [PREPARED_MODULES] = {"modules", FORM_TEXT, false},
    [PREPARED_VOLUMES] = {"volumes", FORM_TEXT, false},
    [PREPARED_VIEW] = {"view", FORM_TEXT, true},
    [PREPARED_IMAGE] = {"image", FORM_IMAGE, true},
    [PREPARED_RECORD] = {"record", FORM_BYTES, false},
    [PREPARED_META] = {"meta", FORM_BYTES, false},
    [PREPARED_NODES] = {"nodes", FORM_HASH, false},
    [PREPARED_PIN] = {"pin", FORM_PIN, true},
    [PREPARED_NAMESPACE] = {"namespace", FORM_PAIR, true},
    [PREPARED_LOOP] = {"loop", FORM_NUMBER, true},
    [PREPARED_FILE] = {"file", FORM_PAIR, true},
    [PREPARED_MADE] = {"made", FORM_NUMBER, true},
};

static bool is_number(const char *at, size_t length) {
  uint64_t number;
  return number_parse(at, length, INT64_MAX, false, &number);
}

// "DEVICE:INODE"
static bool is_pair(const char *at, size_t length) {
  const char *colon = length == 0 ? NULL : memchr(at, ':', length);
  return colon != NULL && is_number(at, (size_t)(colon - at)) && is_number(colon + 1, length - (size_t)(colon - at) - 1);
}

static bool is_hash(const char *text) {
  return strlen(text) == SHA256_HEX - 1 && strspn(text, "0123456789abcdef") == SHA256_HEX - 1;
}

// PLACE/NAME
static bool is_pin(const char *text) {
  AUTO_FREE char *uid = NULL, *job = NULL;
  const char *slash = strchr(text, '/');
  size_t place = slash == NULL ? 0 : (size_t)(slash - text);
  bool numbered = place > 5 && memcmp(text, "pins.", 5) == 0 && is_number(text + 5, place - 5);
  return (numbered || text_is(text, place, "pins")) && pin_parse(slash + 1, &uid, &job);
}

// `text` is followed by a NUL.
static bool is_valid(enum form form, const char *text, size_t length) {
  if (form == FORM_BYTES) return true;
  if (has_control(text, length)) return false;
  switch (form) {
  case FORM_NUMBER:
    return is_number(text, length);
  case FORM_PAIR:
    return is_pair(text, length);
  case FORM_HASH:
    return is_hash(text);
  case FORM_JOB:
    return job_is_valid(text);
  case FORM_IMAGE:
    return image_id_is_valid(text, length);
  case FORM_PIN:
    return is_pin(text);
  case FORM_TEXT:
  case FORM_BYTES:
    break;
  }
  return true;
}

static bool invalid(const char *what, const char *key, struct failure *why) {
  return fail(why, ERROR_RECORD_INVALID, MAGIC ": %s %s", key, what);
}

static bool take_field(struct prepared *entry, const struct field *field, struct failure *why) {
  if (text_is(field->key, field->key_length, "reference")) {
    if (!reference_is_canonical(field->value, field->value_length)) return invalid("is not valid", "reference", why);
    words_add(&entry->references, field->value, field->value_length);
    return true;
  }
  for (size_t i = 0; i < PREPARED_COUNT; i++) {
    if (!text_is(field->key, field->key_length, keys[i].name)) continue;
    struct buffer *value = &entry->fields[i];
    if (value->at != NULL) return invalid("is there twice", keys[i].name, why);
    buffer_add(value, field->value, field->value_length);
    return is_valid(keys[i].form, value->at, value->length) || invalid("is not valid", keys[i].name, why);
  }
  return fail(why, ERROR_RECORD_INVALID, MAGIC ": unknown key %.*s", (int)field->key_length, field->key);
}

static bool check_whole(const struct prepared *entry, struct failure *why) {
  for (size_t i = 0; i < PREPARED_COUNT; i++)
    if (keys[i].required && entry->fields[i].at == NULL) return invalid("is missing", keys[i].name, why);
  if (entry->references.count == 0) return invalid("is missing", "reference", why);
  bool record = entry->fields[PREPARED_RECORD].at != NULL, meta = entry->fields[PREPARED_META].at != NULL;
  return record != meta || invalid("or meta must be there, and not both", "record", why);
}

bool prepared_parse(const char *at, size_t length, struct prepared *entry, struct failure *why) {
  *entry = (struct prepared){0};
  struct field_reader reader;
  bool read = fields_open(&reader, MAGIC, at, length, why), done = false;
  while (read) {
    struct field field;
    read = fields_next(&reader, &field, &done, why);
    if (done) break;
    read = read && take_field(entry, &field, why);
  }
  if (read && check_whole(entry, why)) return true;
  prepared_free(entry);
  return false;
}

static void add_field(struct buffer *out, const char *key, const char *at, size_t length) {
  buffer_print(out, "%s %zu:", key, length);
  buffer_add(out, at, length);
  buffer_byte(out, '\n');
}

static void write_fields(const struct prepared *entry, size_t first, size_t end, struct buffer *out) {
  for (size_t i = first; i < end; i++)
    if (entry->fields[i].at != NULL) add_field(out, keys[i].name, entry->fields[i].at, entry->fields[i].length);
}

void prepared_write(const struct prepared *entry, struct buffer *out) {
  buffer_text(out, MAGIC " 1\n");
  for (size_t i = 0; i < entry->references.count; i++) add_field(out, "reference", entry->references.items[i], strlen(entry->references.items[i]));
  write_fields(entry, 0, PREPARED_COUNT, out);
  buffer_text(out, "end\n");
}

void prepared_free(struct prepared *entry) {
  for (size_t i = 0; i < PREPARED_COUNT; i++) buffer_free(&entry->fields[i]);
  words_free(&entry->references);
}

void prepared_key(const struct prepared *entry, char key[static SHA256_HEX]) {
  AUTO_BUFFER text = {0};
  buffer_text(&text, MAGIC " 1\n");
  write_fields(entry, 0, PREPARED_NODES, &text);
  buffer_text(&text, "end\n");
  sha256_hex(text.at, text.length, key);
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

void pin_place(unsigned number, struct buffer *out) {
  buffer_text(out, "pins");
  if (number > 0) buffer_print(out, ".%u", number);
}

void pin_name(const char *uid, uint64_t random, const char *job, struct buffer *out) {
  buffer_print(out, "%s.%016llx.%s", uid, (unsigned long long)random, job);
}

bool pin_parse(const char *name, char **uid, char **job) {
  size_t length = strcspn(name, ".");
  const char *random = name[length] == '.' ? name + length + 1 : "";
  if (!is_number(name, length) || strspn(random, "0123456789abcdef") != 16 || random[16] != '.' || !job_is_valid(random + 17)) return false;
  *uid = memory_copy(name, length);
  *job = memory_copy(random + 17, strlen(random + 17));
  return true;
}

bool pin_is_of(const char *name, const char *uid, const char *job) {
  AUTO_FREE char *whose = NULL, *of = NULL;
  return pin_parse(name, &whose, &of) && strcmp(of, job) == 0 && (uid == NULL || strcmp(whose, uid) == 0);
}
