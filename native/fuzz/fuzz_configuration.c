// udiRoot.conf and runtime.conf. What is taken can be written down, one setting a line, and means the same when it is read again.
//
// Input: a byte for the file, then the file.
#include "check/show.h"
#include "fuzz/fuzzing.h"
#include "policy/config.h"

static bool is_setting(const char *word) {
  const char *equals = strchr(word, '=');
  return equals != NULL && equals != word && equals[1] != '\0';
}

static void check_value(const struct conf_key *key, const struct conf_value *value) {
  if (value->text == NULL) {
    must(value->number == 0 && value->words.count == 0 && value->volumes.count == 0);
    return;
  }
  for (const char *at = value->text; *at != '\0'; at++) must((unsigned char)*at >= 0x20 ? *at != 0x7f : *at == '\t');
  bool one_of = key->values == NULL;
  for (const char *const *allowed = key->values; !one_of && *allowed != NULL; allowed++) one_of = strcmp(*allowed, value->text) == 0;
  must(key->type != CONF_ENUM || one_of);
  must((key->type != CONF_PATH && key->type != CONF_EXECUTABLE) || fuzz_is_clean(value->text));
  must(key->type != CONF_BOOL || value->number <= 1);
  must(key->type != CONF_UID || value->number <= LARGEST_ID);
  must(key->type != CONF_INTEGER || value->number <= INT32_MAX);
  for (size_t i = 0; i < value->volumes.count; i++) must(fuzz_is_clean(value->volumes.items[i].from) && fuzz_is_clean(value->volumes.items[i].to));
  for (size_t i = 0; i < value->words.count; i++) {
    const char *word = value->words.items[i];
    must(*word != '\0');
    must(key->type != CONF_PATHS || fuzz_is_clean(word));
    if (strncmp(key->name, "siteEnv", 7) == 0) must(strcmp(key->name, "siteEnvUnset") == 0 ? strchr(word, '=') == NULL : is_setting(word));
  }
}

// A value that ends in a backslash goes on in the next line, which is then empty.
static void write_values(const char *before, const char *name, const struct conf_key *keys, size_t count, const struct conf_value *values, struct buffer *out) {
  for (size_t i = 0; i < count; i++) {
    check_value(&keys[i], &values[i]);
    if (values[i].line > 0 && values[i].text != NULL) buffer_print(out, "%s%s%s%s=%s\\\n\n", before, name, *name == '\0' ? "" : "_", keys[i].name, values[i].text);
  }
}

static bool read_config(bool runtime, const char *at, size_t length, struct config *config, struct failure *why) {
  *config = (struct config){0};
  bool parsed = config_parse(config, runtime ? RUNTIME_CONF : UDIROOT_CONF, at, length, "f", why);
  if (parsed && config_finish(config, true, "f", why)) return true;
  fuzz_refused(why);
  config_free(config);
  return false;
}

// The end of an object of JSON.
static char *end_of(char *at) {
  bool quoted = false;
  for (size_t depth = 0;; at++) {
    must(*at != '\0');
    if (quoted && *at == '\\')
      at++;
    else if (*at == '"')
      quoted = !quoted;
    else if (!quoted && *at == '{')
      depth++;
    else if (!quoted && *at == '}' && --depth == 0)
      return at + 1;
  }
}

// Past the object of a key that comes next.
static char *past(char *at, const char *key) {
  must(strncmp(at, key, strlen(key)) == 0);
  return end_of(at + strlen(key));
}

// As shifter-check shows it, without the numbers of lines in origins and warnings. A module may have a name like one of the keys, so that
// they are not searched for.
static void show(const struct config *config, struct buffer *out) {
  const struct words none = {0};
  show_config(out, config, &none);
  char *origins = past(out->at, "{\"modules\":");
  char *rest = past(origins, ",\"origins\":");
  *past(past(rest, ",\"runtime\":"), ",\"udiRoot\":") = '\0';
  memmove(origins, rest, strlen(rest) + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  bool runtime = data[0] % 4 == 3;
  char *text = fuzz_copy(data + 1, size - 1, false);
  struct config config, again;
  struct failure why = {0};
  if (read_config(runtime, text, size - 1, &config, &why)) {
    struct buffer written = {0}, shown = {0}, twice = {0};
    buffer_text(&written, "");
    write_values("", "", udiroot_keys, UDIROOT_KEY_COUNT, config.udiroot, &written);
    // A module that says nothing of itself is still one: others may name it.
    for (size_t i = 0; i < config.module_count; i++) {
      buffer_print(&written, "module_%s_enabled=\n", config.modules[i].name);
      write_values("module_", config.modules[i].name, module_keys, MODULE_KEY_COUNT, config.modules[i].values, &written);
    }
    if (runtime) {
      must(written.length == 0);
      write_values("", "", runtime_keys, RUNTIME_KEY_COUNT, config.runtime, &written);
    }
    bool read = read_config(runtime, written.at, written.length, &again, &why);
    if (!read) fprintf(stderr, "%s\n%s\n", written.at, why.what);
    must(read);
    show(&config, &shown);
    show(&again, &twice);
    if (strcmp(shown.at, twice.at) != 0) fprintf(stderr, "%s\n%s\n%s\n", written.at, shown.at, twice.at);
    must(strcmp(shown.at, twice.at) == 0);
    buffer_free(&written);
    buffer_free(&shown);
    buffer_free(&twice);
    config_free(&config);
    config_free(&again);
  }
  free(text);
  return 0;
}
