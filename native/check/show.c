#include "check/show.h"

#include <string.h>

#include "check/explain.h"
#include "check/json.h"
#include "policy/sha256.h"

static void text_field(struct buffer *out, const char *key, const char *text) {
  json_key(out, key);
  json_text(out, text);
}

static void number_field(struct buffer *out, const char *key, uint64_t number) {
  json_key(out, key);
  buffer_print(out, "%llu", (unsigned long long)number);
}

static void words_field(struct buffer *out, const char *key, const struct words *words) {
  json_key(out, key);
  json_words(out, words);
}

static void ids_field(struct buffer *out, const char *key, const struct ids *ids) {
  json_key(out, key);
  json_ids(out, ids);
}

void show_reference(struct buffer *out, const struct image_reference *reference) {
  char hash[SHA256_HEX];
  if (reference->canonical != NULL) sha256_hex(reference->canonical, strlen(reference->canonical), hash);
  buffer_byte(out, '{');
  text_field(out, "canonical", reference->canonical);
  text_field(out, "nameHash", reference->canonical == NULL ? NULL : hash);
  text_field(out, "reference", reference->reference);
  text_field(out, "type", image_type_name(reference->type));
  buffer_byte(out, '}');
}

void show_record(struct buffer *out, const struct record *record) {
  buffer_byte(out, '{');
  text_field(out, "access", record->is_private ? "private" : "public");
  ids_field(out, "allowGids", &record->allow_gids);
  ids_field(out, "allowUids", &record->allow_uids);
  words_field(out, "command", &record->command);
  number_field(out, "entries", record->entries);
  words_field(out, "entrypoint", &record->entrypoint);
  words_field(out, "env", &record->env);
  text_field(out, "id", record->id);
  text_field(out, "imageSha256", record->image_sha256);
  number_field(out, "imageSize", record->image_size);
  json_key(out, "labels");
  buffer_byte(out, '[');
  for (size_t i = 0; i + 1 < record->labels.count; i += 2) {
    buffer_text(out, i > 0 ? ",[" : "[");
    json_text(out, record->labels.items[i]);
    buffer_byte(out, ',');
    json_text(out, record->labels.items[i + 1]);
    buffer_byte(out, ']');
  }
  buffer_byte(out, ']');
  if (record->manifest_digest != NULL) text_field(out, "manifestDigest", record->manifest_digest);
  number_field(out, "owner", record->owner);
  text_field(out, "platform", record->platform);
  text_field(out, "profile", record->profile);
  text_field(out, "reference", record->reference);
  text_field(out, "sourceDigest", record->source_digest);
  if (record->workdir != NULL) text_field(out, "workdir", record->workdir);
  buffer_byte(out, '}');
}

void show_name(struct buffer *out, const struct name_entry *name) {
  buffer_byte(out, '{');
  text_field(out, "id", name->id);
  text_field(out, "reference", name->reference);
  buffer_byte(out, '}');
}

void show_root(struct buffer *out, const struct prepared *entry) {
  static const struct {
    const char *key;
    enum prepared_field field;
  } fields[] = {{"boot", PREPARED_BOOT}, {"build", PREPARED_BUILD}, {"configuration", PREPARED_CONFIGURATION}, {"file", PREPARED_FILE}, {"gid", PREPARED_GID},
                {"groups", PREPARED_GROUPS}, {"image", PREPARED_IMAGE}, {"job", PREPARED_JOB}, {"key", PREPARED_COUNT}, {"loop", PREPARED_LOOP},
                {"made", PREPARED_MADE}, {"meta", PREPARED_META}, {"modules", PREPARED_MODULES}, {"namespace", PREPARED_NAMESPACE},
                {"nodes", PREPARED_NODES}, {"pin", PREPARED_PIN}, {"record", PREPARED_RECORD}, {"references", PREPARED_COUNT},
                {"uid", PREPARED_UID}, {"view", PREPARED_VIEW}, {"volumes", PREPARED_VOLUMES}};
  char key[SHA256_HEX];
  prepared_key(entry, key);
  buffer_byte(out, '{');
  for (size_t i = 0; i < COUNT_OF(fields); i++) {
    const struct buffer *value = fields[i].field == PREPARED_COUNT ? NULL : &entry->fields[fields[i].field];
    if (value == NULL && strcmp(fields[i].key, "key") == 0) text_field(out, "key", key);
    if (value == NULL && strcmp(fields[i].key, "references") == 0) words_field(out, "references", &entry->references);
    if (value == NULL || value->at == NULL) continue;
    json_key(out, fields[i].key);
    json_string(out, value->at, value->length);
  }
  buffer_byte(out, '}');
}

static void list_or_null(struct buffer *out, const char *key, bool there, const struct words *words) {
  if (there)
    words_field(out, key, words);
  else
    text_field(out, key, NULL);
}

void show_meta(struct buffer *out, const struct meta *meta) {
  buffer_byte(out, '{');
  list_or_null(out, "command", meta->has_command, &meta->command);
  list_or_null(out, "entrypoint", meta->has_entrypoint, &meta->entrypoint);
  words_field(out, "env", &meta->env);
  text_field(out, "format", "squashfs");
  ids_field(out, "groupAcl", &meta->group_acl);
  ids_field(out, "userAcl", &meta->user_acl);
  text_field(out, "workdir", meta->workdir);
  buffer_byte(out, '}');
}

static void show_volumes(struct buffer *out, const struct volume_map *map) {
  buffer_byte(out, '[');
  for (size_t i = 0; i < map->count; i++) {
    const struct volume *volume = &map->items[i];
    static const struct {
      const char *key;
      unsigned flag;
    } flags[] = {{"private", VOLUME_PRIVATE}, {"readOnly", VOLUME_READ_ONLY}, {"recursive", VOLUME_RECURSIVE}, {"slave", VOLUME_SLAVE}};
    if (i > 0) buffer_byte(out, ',');
    buffer_byte(out, '{');
    if ((volume->flags & VOLUME_CACHE) != 0) {
      json_key(out, "cacheBytes");
      buffer_print(out, "%llu", (unsigned long long)volume->cache_size);
    }
    text_field(out, "from", volume->from);
    for (size_t j = 0; j < COUNT_OF(flags); j++) {
      json_key(out, flags[j].key);
      buffer_text(out, (volume->flags & flags[j].flag) != 0 ? "true" : "false");
    }
    text_field(out, "to", volume->to);
    buffer_byte(out, '}');
  }
  buffer_byte(out, ']');
}

static void show_value(struct buffer *out, const struct conf_key *key, const struct conf_value *value) {
  json_key(out, key->name);
  switch (key->type) {
  case CONF_SITEFS:
    show_volumes(out, &value->volumes);
    return;
  case CONF_WORDS:
  case CONF_PATHS:
  case CONF_MODULES:
    json_words(out, &value->words);
    return;
  case CONF_BOOL:
    buffer_text(out, value->number != 0 ? "true" : "false");
    return;
  case CONF_INTEGER:
  case CONF_SIZE:
  case CONF_UID:
    if (value->text != NULL) {
      buffer_print(out, "%llu", (unsigned long long)value->number);
      return;
    }
    break;
  case CONF_PATH:
  case CONF_EXECUTABLE:
  case CONF_PROGRAM:
  case CONF_DIRECTORY:
  case CONF_ENUM:
  case CONF_TEXT:
    break;
  }
  json_text(out, value->text);
}

static void show_values(struct buffer *out, const struct conf_key *keys, size_t count, const struct conf_value *values) {
  buffer_byte(out, '{');
  for (size_t i = 0; i < count; i++)
    if (keys[i].status == CONF_IN_USE) show_value(out, &keys[i], &values[i]);
  buffer_byte(out, '}');
}

static void show_origins(struct buffer *out, const char *file, const struct conf_key *keys, size_t count, const struct conf_value *values) {
  buffer_byte(out, '{');
  for (size_t i = 0; i < count; i++) {
    AUTO_FREE char *origin = origin_of(file, &values[i]);
    if (origin != NULL) text_field(out, keys[i].name, origin);
  }
  buffer_byte(out, '}');
}

static void show_all_origins(struct buffer *out, const struct config *config) {
  buffer_byte(out, '{');
  json_key(out, "modules");
  buffer_byte(out, '{');
  for (size_t i = 0; i < config->module_count; i++) {
    json_key(out, config->modules[i].name);
    show_origins(out, "udiRoot.conf", module_keys, MODULE_KEY_COUNT, config->modules[i].values);
  }
  buffer_byte(out, '}');
  json_key(out, "runtime");
  show_origins(out, "runtime.conf", runtime_keys, RUNTIME_KEY_COUNT, config->runtime);
  json_key(out, "udiRoot");
  show_origins(out, "udiRoot.conf", udiroot_keys, UDIROOT_KEY_COUNT, config->udiroot);
  buffer_byte(out, '}');
}

void show_config(struct buffer *out, const struct config *config, const struct words *wrong) {
  buffer_byte(out, '{');
  json_key(out, "modules");
  buffer_byte(out, '{');
  for (size_t i = 0; i < config->module_count; i++) {
    json_key(out, config->modules[i].name);
    show_values(out, module_keys, MODULE_KEY_COUNT, config->modules[i].values);
  }
  buffer_byte(out, '}');
  json_key(out, "origins");
  show_all_origins(out, config);
  json_key(out, "runtime");
  show_values(out, runtime_keys, RUNTIME_KEY_COUNT, config->runtime);
  json_key(out, "udiRoot");
  show_values(out, udiroot_keys, UDIROOT_KEY_COUNT, config->udiroot);
  words_field(out, "warnings", &config->warnings);
  words_field(out, "wrong", wrong);
  buffer_byte(out, '}');
}

// Each volume as text again, so that whoever asked can hand them on.
void show_request(struct buffer *out, const struct modules *modules, const struct volume_map *volumes) {
  AUTO_WORDS names = {0}, maps = {0};
  for (size_t i = 0; i < modules->count; i++) words_add_text(&names, modules->items[i]->name);
  for (size_t i = 0; i < volumes->count; i++) {
    AUTO_BUFFER text = {0};
    volume_text(&volumes->items[i], &text);
    words_add(&maps, text.at, text.length);
  }
  buffer_byte(out, '{');
  words_field(out, "modules", &names);
  words_field(out, "volumes", &maps);
  buffer_byte(out, '}');
}

static void begin_failure(struct buffer *out, const struct failure *why) {
  buffer_byte(out, '{');
  json_key(out, "error");
  buffer_byte(out, '{');
  text_field(out, "code", error_name(why->code));
  text_field(out, "message", why->what);
}

void show_failure(struct buffer *out, const struct failure *why) {
  begin_failure(out, why);
  buffer_text(out, "}}");
}

void show_refusal(struct buffer *out, const struct failure *why) {
  begin_failure(out, why);
  text_field(out, "remedy", error_texts[why->code].remedy);
  buffer_text(out, "}}");
}

// A user's map, or one of a site.
static bool show_map(struct buffer *out, const char *kind, const char *at, size_t length, struct failure *why) {
  struct volume_map map = {0};
  AUTO_BUFFER what = {0}, signature = {0};
  AUTO_FREE char *text = memory_copy(at, length);
  bool site = strcmp(kind, "siteFs") == 0;
  bool whole = strlen(text) == length || (buffer_text(&what, "a NUL byte"), false);
  bool taken = whole && (site ? volume_map_add_site(&map, text, &what) : volume_map_add_user(&map, text, &what));
  if (taken) {
    volume_map_signature(&map, &signature);
    buffer_byte(out, '{');
    text_field(out, "signature", signature.at == NULL ? "" : signature.at);
    json_key(out, "volumes");
    show_volumes(out, &map);
    buffer_byte(out, '}');
  }
  volume_map_free(&map);
  return taken || fail(why, site ? ERROR_UDIROOT_CONF_INVALID : ERROR_VOLUME_INVALID, "%s", what.at);
}

int show_parsed(struct buffer *out, const char *kind, const char *at, size_t length, const char *default_type) {
  struct failure why = {.code = ERROR_USAGE};
  bool shown = false;
  if (strcmp(kind, "ref") == 0) {
    AUTO_REFERENCE reference = {0};
    if ((shown = reference_parse(at, length, default_type, &reference, &why))) show_reference(out, &reference);
  } else if (strcmp(kind, "record") == 0) {
    AUTO_RECORD record = {0};
    if ((shown = record_parse(at, length, &record, &why))) show_record(out, &record);
  } else if (strcmp(kind, "name") == 0) {
    AUTO_NAME name = {0};
    if ((shown = name_parse(at, length, &name, &why))) show_name(out, &name);
  } else if (strcmp(kind, "meta") == 0) {
    AUTO_META meta = {0};
    if ((shown = meta_parse(at, length, &meta, &why))) show_meta(out, &meta);
  } else if (strcmp(kind, "root") == 0) {
    AUTO_PREPARED entry = {0};
    if ((shown = prepared_parse(at, length, &entry, &why))) show_root(out, &entry);
  } else if (strcmp(kind, "volume") == 0 || strcmp(kind, "siteFs") == 0) {
    shown = show_map(out, kind, at, length, &why);
  } else {
    fail(&why, ERROR_USAGE, "there is no kind '%s'", kind);
  }
  if (!shown) show_failure(out, &why);
  return shown ? 0 : error_exit(why.code);
}
