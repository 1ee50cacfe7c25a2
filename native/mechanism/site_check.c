#include <unistd.h>

#include "mechanism/open.h"
#include "mechanism/site.h"

// The reference system runs programs that this one does not; they must exist, so that the file stays good for it.
static bool check_value(const struct conf_key *key, const char *path, struct failure *why) {
  AUTO_FD fd = -1;
  if (path == NULL) return true;
  if (key->type == CONF_PROGRAM) return site_open(key->name, path, S_IFREG, &fd, why);
  if (key->type == CONF_DIRECTORY) return site_open(key->name, path, S_IFDIR, &fd, why);
  return key->type != CONF_EXECUTABLE || access(path, X_OK) == 0 || fail(why, ERROR_UDIROOT_CONF_INVALID, "%s: %s is no executable file", key->name, path);
}

static bool wrong_line(unsigned line, const char *prefix, const struct failure *one, struct words *wrong, struct failure *why) {
  AUTO_BUFFER text = {0};
  buffer_print(&text, "udiRoot.conf:%u: %s%s", line, prefix, one->what);
  words_add(wrong, text.at, text.length);
  return fail(why, one->code, "%s", text.at);
}

static bool check_values(const struct conf_key *keys, size_t count, const struct conf_value *values, const char *prefix, struct words *wrong,
                         struct failure *why) {
  bool right = true;
  for (size_t i = 0; i < count; i++) {
    struct failure one;
    if (!check_value(&keys[i], values[i].text, &one)) right = wrong_line(values[i].line, prefix, &one, wrong, why);
  }
  return right;
}

bool site_uses_etc(const struct config *config) {
  return config->udiroot[UDIROOT_ALLOW_LIBC_PWD_CALLS].number == 0 || config->udiroot[UDIROOT_POPULATE_ETC_DYNAMICALLY].number == 0;
}

// Without them no start finds its caller's account, or every container has none.
static bool check_etc(const struct config *config, struct words *wrong, struct failure *why) {
  static const char *const names[] = {"passwd", "group"};
  const struct conf_value *etc = &config->udiroot[UDIROOT_ETC_PATH];
  struct failure one;
  AUTO_FD directory = -1;
  bool right = true;
  if (!site_uses_etc(config)) return true;
  if (!site_open("etcPath", etc->text, S_IFDIR, &directory, &one)) return wrong_line(etc->line, "", &one, wrong, why);
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    AUTO_BUFFER content = {0};
    if (!site_read_etc(directory, etc->text, names[i], &content, &one)) right = wrong_line(etc->line, "", &one, wrong, why);
  }
  return right;
}

bool site_check(const struct config *config, struct words *wrong, struct failure *why) {
  bool right = check_values(udiroot_keys, UDIROOT_KEY_COUNT, config->udiroot, "", wrong, why);
  right = check_etc(config, wrong, why) && right;
  for (size_t i = 0; i < config->module_count; i++) {
    AUTO_BUFFER prefix = {0};
    buffer_print(&prefix, "module_%s_", config->modules[i].name);
    right = check_values(module_keys, MODULE_KEY_COUNT, config->modules[i].values, prefix.at, wrong, why) && right;
  }
  return right;
}
