#include "mechanism/site.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "limits.gen.h"
#include "mechanism/open.h"

static bool explain(enum walk walk, const char *file, const char *unsafe, struct failure *why) {
  if (walk == WALK_OK) return true;
  if (walk == WALK_MISSING) return fail(why, ERROR_UDIROOT_CONF_MISSING, "%s does not exist", file);
  if (walk == WALK_UNSAFE)
    return fail(why, ERROR_UDIROOT_CONF_UNSAFE, "%s%s", unsafe == NULL ? file : unsafe, unsafe == NULL ? " is no file of root's that root alone can change" : "");
  if (errno == EFBIG) return fail(why, ERROR_UDIROOT_CONF_INVALID, "%s is larger than %d bytes", file, LIMIT_CONFIG_BYTES);
  bool scarce = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
  return fail(why, scarce ? ERROR_RESOURCE : ERROR_UDIROOT_CONF_MISSING, "%s: %s", file, strerror(errno));
}

// Adds what is read to `bytes`. There may be no runtime.conf.
static bool load_file(int fd, const char *directory, enum config_file file, struct buffer *bytes, struct config *config, struct failure *why) {
  AUTO_BUFFER path = {0}, content = {0};
  const char *name = file == RUNTIME_CONF ? "runtime.conf" : "udiRoot.conf";
  buffer_print(&path, "%s/%s", directory, name);
  enum walk walk = open_protected_file(fd, name, 0, LIMIT_CONFIG_BYTES, &content, NULL);
  if (walk == WALK_MISSING && file == RUNTIME_CONF) return true;
  buffer_print(bytes, "%s %zu:", name, content.length);
  buffer_add(bytes, content.at, content.length);
  return explain(walk, path.at, NULL, why) && config_parse(config, file, content.at, content.length, path.at, why);
}

bool site_load(const char *directory, struct config *config, struct failure *why) {
  *config = (struct config){0};
  AUTO_FREE char *unsafe = NULL;
  AUTO_FD fd = -1;
  AUTO_BUFFER file = {0}, bytes = {0};
  buffer_print(&file, "%s/udiRoot.conf", directory);
  enum walk walk = walk_protected(directory, 0, &fd, &unsafe);
  bool loaded = explain(walk, directory, unsafe, why) &&
                load_file(fd, directory, UDIROOT_CONF, &bytes, config, why) &&
                load_file(fd, directory, RUNTIME_CONF, &bytes, config, why) && config_finish(config, false, file.at, why);
  if (loaded) sha256_hex(bytes.at, bytes.length, config->digest);
  if (!loaded) config_free(config);
  return loaded;
}

bool site_open(const char *setting, const char *path, mode_t type, int *fd, struct failure *why) {
  AUTO_FREE char *unsafe = NULL;
  AUTO_FD found = -1;
  struct stat status;
  enum walk walk = walk_site(path, &found, &unsafe);
  if (walk == WALK_UNSAFE) return fail(why, ERROR_UDIROOT_CONF_UNSAFE, "%s: %s", setting, unsafe);
  if (walk != WALK_OK || fstat(found, &status) != 0) return fail(why, ERROR_UDIROOT_CONF_INVALID, "%s: %s: %s", setting, path, strerror(errno));
  if ((status.st_mode & S_IFMT) != type || (type == S_IFREG && (status.st_mode & S_IXUSR) == 0))
    return fail(why, ERROR_UDIROOT_CONF_INVALID, "%s: %s is no %s", setting, path, type == S_IFREG ? "executable file" : "directory");
  *fd = steal_fd(&found);
  return true;
}

bool site_read_etc(int directory, const char *path, const char *name, struct buffer *content, struct failure *why) {
  enum walk walk = open_protected_file(directory, name, 0, LIMIT_ACCOUNT_REPLY_BYTES, content, NULL);
  return walk == WALK_OK || fail(why, walk == WALK_UNSAFE ? ERROR_UDIROOT_CONF_UNSAFE : ERROR_UDIROOT_CONF_INVALID, "etcPath: %s/%s can't be used", path, name);
}
