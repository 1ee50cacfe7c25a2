#include "check/presence.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "mechanism/open.h"
#include "mechanism/site.h"
#include "policy/module.h"

static void add(struct buffer *missing, const char *name, const char *what) {
  buffer_print(missing, "%s%s: %s", missing->length > 0 ? "; " : "", name, what);
}

// An ordinary user may not see all that root does, so that what is hidden from him is no fault.
static bool is_there(const char *path, struct buffer *missing) {
  AUTO_FD fd = open(path, O_PATH | O_CLOEXEC);
  if (fd >= 0 || errno == EACCES) return true;
  add(missing, path, strerror(errno));
  return false;
}

static bool all_there(const struct volume_map *volumes, struct buffer *missing) {
  bool all = true;
  for (size_t i = 0; i < volumes->count; i++) {
    bool made = (volumes->items[i].flags & VOLUME_CACHE) != 0;
    all = (made || is_there(volumes->items[i].from, missing)) && all;
  }
  return all;
}

bool sources_are_there(const struct config *config, struct buffer *missing) {
  struct modules modules = {0};
  struct failure why;
  bool all = all_there(&config->udiroot[UDIROOT_SITE_FS].volumes, missing);
  if (modules_select(config, NULL, &modules, &why))
    for (size_t i = 0; i < modules.count; i++) all = all_there(&modules.items[i]->values[MODULE_SITE_FS].volumes, missing) && all;
  modules_free(&modules);
  return all;
}

static bool in_file(const struct buffer *passwd, const char *name) {
  for (struct part line = parts_of(passwd->at, passwd->length); part_next(&line, '\n');) {
    struct part field = parts_of(line.at, line.length);
    if (part_next(&field, ':') && text_is(field.at, field.length, name)) return true;
  }
  return false;
}

bool accounts_are_known(const struct config *config, struct buffer *missing) {
  const struct words *import = &config->udiroot[UDIROOT_USERS_TO_IMPORT].words;
  const char *path = config->udiroot[UDIROOT_ETC_PATH].text;
  bool ask = config->udiroot[UDIROOT_ALLOW_LIBC_PWD_CALLS].number != 0, all = true;
  AUTO_FD directory = -1;
  AUTO_BUFFER passwd = {0};
  struct failure why;
  if (import->count == 0) return true;
  // Without the file nothing is known; the settings' own check says so.
  if (!ask && (!site_open("etcPath", path, S_IFDIR, &directory, &why) || !site_read_etc(directory, path, "passwd", &passwd, &why))) return true;
  for (size_t i = 0; i < import->count; i++) {
    if (ask ? getpwnam(import->items[i]) != NULL : in_file(&passwd, import->items[i])) continue;
    add(missing, import->items[i], "there is no such account");
    all = false;
  }
  return all;
}
