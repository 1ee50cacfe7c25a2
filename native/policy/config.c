#include "policy/config.h"

#include <stdlib.h>
#include <string.h>

#include "limits.gen.h"
#include "policy/environment.h"
#include "policy/module.h"
#include "policy/path.h"

struct place {
  const char *file;
  unsigned line;
};

static bool invalid(const struct place *place, const char *key, const char *what, struct failure *why) {
  return fail(why, ERROR_UDIROOT_CONF_INVALID, "%s:%u: %s %s", place->file, place->line, key, what);
}

// Always true.
static bool warn(struct config *config, const struct place *place, const char *key, const char *what) {
  AUTO_BUFFER text = {0};
  buffer_print(&text, "%s:%u: %s %s", place->file, place->line, key, what);
  words_add(&config->warnings, text.at, text.length);
  return true;
}

static void value_free(struct conf_value *value) {
  free(value->text);
  words_free(&value->words);
  volume_map_free(&value->volumes);
  *value = (struct conf_value){0};
}

// NULL, or what is wrong.
static const char *not_one_of(const char *text, const char *const *values, struct buffer *detail) {
  for (size_t i = 0; values[i] != NULL; i++) {
    if (strcmp(text, values[i]) == 0) return NULL;
    buffer_print(detail, "%s%s", i == 0 ? "is none of " : ", ", values[i]);
  }
  return detail->at;
}

// NULL, or what is wrong with the text.
static const char *take_value(const struct conf_key *key, const char *text, struct conf_value *value, struct buffer *detail) {
  size_t length = strlen(text);
  switch (key->type) {
  case CONF_PATH:
  case CONF_EXECUTABLE:
  case CONF_PROGRAM:
  case CONF_DIRECTORY:
    if (!path_is_plain(text, length)) return "is not an absolute path without '..'";
    value->text = path_clean(text, length);
    return NULL;
  case CONF_ENUM:
    if (not_one_of(text, key->values, detail) != NULL) return detail->at;
    break;
  case CONF_BOOL:
    if (!number_parse(text, length, 1, false, &value->number)) return "is not 0 or 1";
    break;
  case CONF_INTEGER:
    if (!number_parse(text, length, INT32_MAX, true, &value->number)) return "is not a number";
    break;
  case CONF_UID:
    if (!number_parse(text, length, LARGEST_ID, false, &value->number)) return "is not a uid";
    break;
  case CONF_SIZE:
    if (!bytes_parse(text, length, LARGEST_SIZE, &value->number)) return "is not a size";
    break;
  case CONF_TEXT:
  default:
    break;
  case CONF_WORDS:
    words_add_split(&value->words, text, " \t");
    break;
  case CONF_MODULES:
    words_add_split(&value->words, text, ", \t");
    break;
  case CONF_PATHS:
    words_add_split(&value->words, text, " \t");
    for (size_t i = 0; i < value->words.count; i++) {
      char **word = &value->words.items[i];
      if (!path_is_plain(*word, strlen(*word))) return "holds a word that is not an absolute path without '..'";
      AUTO_FREE char *given = *word;
      *word = path_clean(given, strlen(given));
    }
    break;
  case CONF_SITEFS:
    if (volume_map_add_site(&value->volumes, text, detail)) break;
    buffer_byte(detail, '\0');
    return detail->at;
  }
  value->text = memory_copy(text, length);
  return NULL;
}

static bool is_setting_list(const char *name) {
  return strcmp(name, "siteEnv") == 0 || strcmp(name, "siteEnvAppend") == 0 || strcmp(name, "siteEnvPrepend") == 0;
}

// What more must hold of a value, checked where its line is still known.
static const char *check_settings(const struct conf_key *key, const struct conf_value *value) {
  bool zero = value->text != NULL && value->number == 0;
  if (zero && key == &runtime_keys[RUNTIME_WRITABLE_SIZE]) return "is 0, which would be no limit";
  if (zero && key == &runtime_keys[RUNTIME_MKFS_USER]) return "is 0: an account that is not root's is needed";
  for (size_t i = 0; i < value->words.count; i++) {
    if (is_setting_list(key->name) && !setting_is_complete(value->words.items[i])) return "holds a word that is not NAME=VALUE";
    if (strcmp(key->name, "siteEnvUnset") == 0 && strchr(value->words.items[i], '=') != NULL) return "holds a word that is not a NAME";
  }
  return NULL;
}

// A repeated key replaces, or is added to, what was said before. An empty value takes it back.
static const char *set_value(const struct conf_key *key, const char *text, unsigned line, struct conf_value *value, struct buffer *detail) {
  AUTO_BUFFER joined = {0};
  if (key->appends && value->text != NULL) {
    buffer_print(&joined, "%s;%s", value->text, text);
    text = joined.at;
  }
  struct conf_value taken = {.line = line};
  const char *what = *text == '\0' ? NULL : take_value(key, text, &taken, detail);
  if (what == NULL) what = check_settings(key, &taken);
  value_free(what == NULL ? value : &taken);
  if (what == NULL) *value = taken;
  return what;
}

struct module *config_module(const struct config *config, const char *name, size_t length) {
  for (size_t i = 0; i < config->module_count; i++)
    if (text_is(name, length, config->modules[i].name)) return &config->modules[i];
  return NULL;
}

static struct module *get_module(struct config *config, const char *name, size_t length) {
  struct module *module = config_module(config, name, length);
  if (module != NULL) return module;
  config->modules = memory_resize(config->modules, config->module_count + 1, sizeof *config->modules);
  module = &config->modules[config->module_count++];
  *module = (struct module){.name = memory_copy(name, length)};
  return module;
}

// Names are separated by commas on command lines and by blanks or commas here, 'none' chooses no module, and the name becomes a directory's.
static bool can_be_chosen(const char *name, size_t length) {
  bool special = text_is(name, length, ".") || text_is(name, length, "..") || text_is(name, length, "none");
  for (size_t i = 0; i < length; i++) special = special || is_blank(name[i]) || name[i] == ',' || name[i] == '/';
  return length > 0 && !special;
}

static const struct conf_key *find_key(const struct conf_key *keys, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(name, keys[i].name) == 0) return &keys[i];
  return NULL;
}

// module_NAME_KEY: what the reference system passes over in silence is passed over with a warning.
static bool set_module_key(struct config *config, const struct place *place, const char *whole, const char *text, struct failure *why) {
  const char *name = whole + strlen("module_");
  size_t length = strcspn(name, "_");
  AUTO_BUFFER detail = {0};
  if (!can_be_chosen(name, length)) return warn(config, place, whole, "names no module that could be chosen");
  const struct conf_key *key = name[length] == '_' ? find_key(module_keys, MODULE_KEY_COUNT, name + length + 1) : NULL;
  if (key == NULL) return warn(config, place, whole, "is no known setting of a module");
  const char *what = set_value(key, text, place->line, &get_module(config, name, length)->values[key - module_keys], &detail);
  if (what == NULL) return true;
  return key->type == CONF_SITEFS ? warn(config, place, whole, what) : invalid(place, whole, what, why);
}

static bool set_key(struct config *config, enum config_file from, const struct place *place, const char *name, const char *text, struct failure *why) {
  bool runtime = from == RUNTIME_CONF;
  const struct conf_key *keys = runtime ? runtime_keys : udiroot_keys;
  AUTO_BUFFER detail = {0};
  if (*name == '\0') return invalid(place, "the line", "has no key before the '='", why);
  if (has_control(name, strlen(name))) return invalid(place, "the key", "holds a control character", why);
  for (const char *at = text; *at != '\0'; at++)
    if (is_control(*at) && *at != '\t') return invalid(place, name, "holds a control character", why);
  if (!runtime && strncmp(name, "module_", strlen("module_")) == 0) return set_module_key(config, place, name, text, why);
  const struct conf_key *key = find_key(keys, runtime ? (size_t)RUNTIME_KEY_COUNT : (size_t)UDIROOT_KEY_COUNT, name);
  if (key == NULL) return invalid(place, name, "is an unknown key", why);
  if (key->status == CONF_IGNORED) return true;
  if (key->status == CONF_DEPRECATED) return warn(config, place, name, "is deprecated and has no effect");
  const char *what = set_value(key, text, place->line, &(runtime ? config->runtime : config->udiroot)[key - keys], &detail);
  return what == NULL || invalid(place, name, what, why);
}

// A logical line: KEY=VALUE. What else there is the reference system passes over.
static bool take_line(struct config *config, enum config_file from, const struct place *place, const struct buffer *line, struct failure *why) {
  if (line->length == 0) return true;
  const char *equals = memchr(line->at, '=', line->length);
  if (equals == NULL && from == RUNTIME_CONF) return invalid(place, "the line", "has no '='", why);
  if (equals == NULL) return warn(config, place, "the line", "has no '=' and says nothing");
  const char *name = line->at, *text = equals + 1;
  size_t name_length = (size_t)(equals - name), text_length = line->length - name_length - 1;
  trim(&name, &name_length);
  trim(&text, &text_length);
  AUTO_FREE char *key = memory_copy(name, name_length);
  AUTO_FREE char *value = memory_copy(text, text_length);
  return set_key(config, from, place, key, value, why);
}

static bool check_bytes(const char *at, size_t length, const char *file, struct failure *why) {
  if (length > LIMIT_CONFIG_BYTES) return fail(why, ERROR_UDIROOT_CONF_INVALID, "%s is larger than %d bytes", file, LIMIT_CONFIG_BYTES);
  struct place place = {file, 1};
  for (size_t i = 0; i < length; i++) {
    if (at[i] == '\0') return invalid(&place, "the line", "holds a NUL byte", why);
    if (at[i] == '\r') return invalid(&place, "the line", "holds a carriage return (line ends are LF alone)", why);
    if (at[i] == '\n') place.line++;
  }
  return true;
}

bool config_parse(struct config *config, enum config_file from, const char *at, size_t length, const char *file, struct failure *why) {
  if (!check_bytes(at, length, file, why)) return false;
  AUTO_BUFFER line = {0};
  struct place place = {file, 0};
  bool open = false; // the logical line goes on
  unsigned number = 0;
  bool ended = length > 0 && at[length - 1] == '\n'; // and no line begins behind it
  for (struct part piece = parts_of(at, ended ? length - 1 : length); part_next(&piece, '\n');) {
    number++;
    if (piece.length > 0 && piece.at[0] == '#') continue; // also between the pieces of a continued line
    if (!open) place.line = number;
    trim(&piece.at, &piece.length);
    bool goes_on = piece.length > 0 && piece.at[piece.length - 1] == '\\';
    if (goes_on) piece.length--;
    trim(&piece.at, &piece.length);
    if (open) buffer_byte(&line, ' ');
    buffer_add(&line, piece.at, piece.length);
    if (line.length > LIMIT_CONFIG_LINE_BYTES) return invalid(&place, "the line", "is too long", why);
    open = goes_on;
    if (open) continue;
    if (!take_line(config, from, &place, &line, why)) return false;
    line.length = 0;
  }
  return !open || take_line(config, from, &place, &line, why);
}

static void set_defaults(const struct conf_key *keys, size_t count, struct conf_value *values) {
  for (size_t i = 0; i < count; i++) {
    AUTO_BUFFER detail = {0};
    if (values[i].text == NULL && keys[i].fallback != NULL) (void)set_value(&keys[i], keys[i].fallback, 0, &values[i], &detail);
  }
}

static bool check_conflict_names(struct config *config, const char *file, struct failure *why) {
  for (size_t i = 0; i < config->module_count; i++) {
    const struct conf_value *named = &config->modules[i].values[MODULE_CONFLICT];
    struct place place = {file, named->line};
    for (size_t j = 0; j < named->words.count; j++)
      if (config_module(config, named->words.items[j], strlen(named->words.items[j])) == NULL)
        return invalid(&place, named->words.items[j], "is named as a conflict and is no module", why);
  }
  return true;
}

static bool check_default_modules(struct config *config, const char *file, struct failure *why) {
  struct modules modules = {0};
  struct failure refused;
  bool selected = modules_select(config, NULL, &modules, &refused);
  modules_free(&modules);
  const struct place place = {file, config->udiroot[UDIROOT_DEFAULT_MODULES].line};
  return selected || invalid(&place, "defaultModules:", refused.what, why);
}

bool config_finish(struct config *config, bool lenient, const char *file, struct failure *why) {
  set_defaults(udiroot_keys, UDIROOT_KEY_COUNT, config->udiroot);
  set_defaults(runtime_keys, RUNTIME_KEY_COUNT, config->runtime);
  for (size_t i = 0; i < config->module_count; i++) set_defaults(module_keys, MODULE_KEY_COUNT, config->modules[i].values);
  for (size_t i = 0; i < UDIROOT_KEY_COUNT && !lenient; i++)
    if (udiroot_keys[i].required && config->udiroot[i].text == NULL)
      return fail(why, ERROR_UDIROOT_CONF_INVALID, "%s: %s is not defined", file, udiroot_keys[i].name);
  const struct conf_value *mount = &config->udiroot[UDIROOT_UDI_MOUNT];
  struct place place = {file, mount->line};
  // Mount options name directories below it; these characters would mean something there.
  if (mount->text != NULL && (strpbrk(mount->text, ":,\\") != NULL || strcmp(mount->text, "/") == 0))
    return invalid(&place, "udiMount", "can't be '/' or hold ':', ',' or a backslash", why);
  return check_conflict_names(config, file, why) && check_default_modules(config, file, why);
}

void config_free(struct config *config) {
  for (size_t i = 0; i < UDIROOT_KEY_COUNT; i++) value_free(&config->udiroot[i]);
  for (size_t i = 0; i < RUNTIME_KEY_COUNT; i++) value_free(&config->runtime[i]);
  for (size_t i = 0; i < config->module_count; i++) {
    for (size_t j = 0; j < MODULE_KEY_COUNT; j++) value_free(&config->modules[i].values[j]);
    free(config->modules[i].name);
  }
  free(config->modules);
  words_free(&config->warnings);
  *config = (struct config){0};
}
