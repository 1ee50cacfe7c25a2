// Records and .meta files. What is taken can be written down, and means the same when it is read again; who may use an image is judged a
// second time here.
//
// Input: a byte for the kind, then the file.
#include "check/show.h"
#include "fuzz/fuzzing.h"
#include "policy/image_facts.h"

static void field(struct buffer *out, const char *key, const char *value, size_t length) {
  buffer_print(out, "%s %zu:", key, length);
  buffer_add(out, value, length);
  buffer_byte(out, '\n');
}

static void text_field(struct buffer *out, const char *key, const char *value) {
  if (value != NULL) field(out, key, value, strlen(value));
}

static void number_field(struct buffer *out, const char *key, uint64_t value) {
  AUTO_BUFFER text = {0};
  buffer_print(&text, "%llu", (unsigned long long)value);
  field(out, key, text.at, text.length);
}

static void words_field(struct buffer *out, const char *key, const struct words *words) {
  for (size_t i = 0; i < words->count; i++) text_field(out, key, words->items[i]);
}

static void ids_field(struct buffer *out, const char *key, const struct ids *ids) {
  for (size_t i = 0; i < ids->count; i++) number_field(out, key, ids->items[i]);
}

static void write_record(const struct record *record, struct buffer *out) {
  buffer_text(out, "shifter-record 1\n");
  text_field(out, "id", record->id);
  text_field(out, "reference", record->reference);
  text_field(out, "source-digest", record->source_digest);
  text_field(out, "manifest-digest", record->manifest_digest);
  text_field(out, "profile", record->profile);
  text_field(out, "platform", record->platform);
  text_field(out, "image-sha256", record->image_sha256);
  text_field(out, "workdir", record->workdir);
  number_field(out, "image-size", record->image_size);
  number_field(out, "entries", record->entries);
  number_field(out, "owner", record->owner);
  text_field(out, "access", record->is_private ? "private" : "public");
  ids_field(out, "allow-uid", &record->allow_uids);
  ids_field(out, "allow-gid", &record->allow_gids);
  words_field(out, "entrypoint", &record->entrypoint);
  words_field(out, "command", &record->command);
  words_field(out, "env", &record->env);
  for (size_t i = 0; i + 1 < record->labels.count; i += 2) {
    AUTO_BUFFER label = {0};
    buffer_add(&label, record->labels.items[i], strlen(record->labels.items[i]) + 1);
    buffer_text(&label, record->labels.items[i + 1]);
    field(out, "label", label.at, label.length);
  }
  buffer_text(out, "end\n");
}

static void list(struct buffer *out, const char *key, bool there, const struct words *words) {
  if (!there) return;
  buffer_print(out, "%s: [", key);
  for (size_t i = 0; i < words->count; i++) {
    buffer_text(out, i > 0 ? ", '" : "'");
    for (const char *at = words->items[i]; *at != '\0'; at++)
      if (*at == '\n')
        buffer_text(out, "\\n");
      else
        buffer_print(out, *at == '\'' || *at == '\\' ? "\\%c" : "%c", *at);
    buffer_byte(out, '\'');
  }
  buffer_text(out, "]\n");
}

static void id_list(struct buffer *out, const char *key, const struct ids *ids) {
  buffer_print(out, "%s: ", key);
  for (size_t i = 0; i < ids->count; i++) buffer_print(out, i > 0 ? ",%u" : "%u", ids->items[i]);
  buffer_byte(out, '\n');
}

static void write_meta(const struct meta *meta, struct buffer *out) {
  buffer_text(out, "FORMAT: squashfs\n");
  list(out, "ENTRY", meta->has_entrypoint, &meta->entrypoint);
  list(out, "CMD", meta->has_command, &meta->command);
  if (meta->workdir != NULL) buffer_print(out, "WORKDIR: %s\n", meta->workdir);
  id_list(out, "USERACL", &meta->user_acl);
  id_list(out, "GROUPACL", &meta->group_acl);
  for (size_t i = 0; i < meta->env.count; i++) buffer_print(out, "ENV: %s\n", meta->env.items[i]);
}

static bool holds(const struct ids *ids, uint32_t id) {
  bool found = false;
  for (size_t i = 0; i < ids->count; i++) found = found || ids->items[i] == id;
  return found;
}

// Nobody but the listed, where there is a list.
static void check_access(bool everyone, uint32_t owner, const struct ids *uids, const struct ids *gids, bool allowed, const struct identity *who) {
  bool listed = holds(uids, who->uid) || holds(gids, who->gid) || who->uid == owner;
  for (size_t i = 0; i < who->groups.count; i++) listed = listed || holds(gids, who->groups.items[i]);
  must(allowed == (everyone || listed));
}

static bool show(const char *kind, const char *at, size_t length, struct buffer *out) {
  return show_parsed(out, kind, at, length, "docker") == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  bool is_record = data[0] % 2 == 0;
  const char *kind = is_record ? "record" : "meta";
  char *text = fuzz_copy(data + 1, size - 1, false);
  struct buffer written = {0}, shown = {0}, twice = {0};
  struct failure why = {0};
  struct ids groups = {(uint32_t[]){5, 1000, 0}, 3, 3};
  const struct identity people[] = {{0, 0, {0}}, {1000, 100, {0}}, {5, 5, groups}};
  struct record record = {0};
  struct meta meta = {0};
  bool taken = is_record ? record_parse(text, size - 1, &record, &why) : meta_parse(text, size - 1, &meta, &why);
  if (!taken) fuzz_refused(&why);
  for (size_t i = 0; taken && i < COUNT_OF(people); i++) {
    if (is_record)
      check_access(!record.is_private, record.owner, &record.allow_uids, &record.allow_gids, record_allows(&record, &people[i]), &people[i]);
    else
      check_access(meta.user_acl.count + meta.group_acl.count == 0, UINT32_MAX, &meta.user_acl, &meta.group_acl, meta_allows(&meta, &people[i]), &people[i]);
  }
  if (taken) {
    is_record ? write_record(&record, &written) : write_meta(&meta, &written);
    must(show(kind, text, size - 1, &shown));
    bool again = show(kind, written.at, written.length, &twice);
    if (!again || strcmp(shown.at, twice.at) != 0) fprintf(stderr, "%s\n%s\n%s\n", written.at, shown.at, twice.at);
    must(again && strcmp(shown.at, twice.at) == 0);
  }
  record_free(&record);
  meta_free(&meta);
  buffer_free(&written);
  buffer_free(&shown);
  buffer_free(&twice);
  free(text);
  return 0;
}
