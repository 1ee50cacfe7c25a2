#include "mechanism/etc_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mechanism/identity.h"
#include "mechanism/open.h"
#include "mechanism/site.h"

#define FILE_BYTES (4 << 20)
#define FILES 512

static struct made_file *find(const struct made_files *files, const char *name) {
  for (size_t i = 0; i < files->count; i++)
    if (strcmp(files->items[i].name, name) == 0) return &files->items[i];
  return NULL;
}

struct made_file *made_files_add(struct made_files *files, const char *name) {
  struct made_file *file = find(files, name);
  if (file != NULL) {
    file->content.length = 0;
    return file;
  }
  files->items = memory_resize(files->items, files->count + 1, sizeof *files->items);
  file = &files->items[files->count++];
  *file = (struct made_file){.name = memory_copy(name, strlen(name)), .mode = 0644};
  return file;
}

static void add_generated(struct made_files *files, const struct accounts *accounts, uint64_t most) {
  write_passwd(&made_files_add(files, "passwd")->content, accounts);
  write_group(&made_files_add(files, "group")->content, accounts, most);
  buffer_text(&made_files_add(files, "nsswitch.conf")->content,
              "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n");
  buffer_text(&made_files_add(files, "host.conf")->content, "multi on\n");
}

// The host's file as the caller sees it; left out when he can't read it.
static bool add_host_file(struct made_files *files, const char *path, const char *name, const struct identity *who, struct failure *why) {
  if (!file_identity_set(who, why)) return false;
  AUTO_FD fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  file_identity_root();
  struct stat status;
  AUTO_BUFFER content = {0};
  if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || !read_all(fd, FILE_BYTES, &content)) return true;
  buffer_add(&made_files_add(files, name)->content, content.at, content.length);
  return true;
}

static bool add_site_file(struct made_files *files, int directory, const char *path, const char *name, struct failure *why) {
  AUTO_BUFFER content = {0};
  if (!site_read_etc(directory, path, name, &content, why)) return false;
  buffer_add(&made_files_add(files, name)->content, content.at, content.length);
  return true;
}

static bool is_regular(int directory, const char *name) {
  struct stat status;
  return fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode);
}

// Every regular file of etcPath; hidden ones and shadow stay out.
static bool add_site_directory(struct made_files *files, const char *path, struct failure *why) {
  AUTO_FD directory = -1;
  AUTO_WORDS names = {0};
  if (!site_open("etcPath", path, S_IFDIR, &directory, why)) return false;
  if (!names_in(directory, false, &names)) return fail(why, ERROR_UDIROOT_CONF_INVALID, "etcPath: %s: %s", path, strerror(errno));
  for (size_t i = 0; i < names.count; i++) {
    if (strcmp(names.items[i], "shadow") == 0 || !is_regular(directory, names.items[i])) continue;
    if (files->count >= FILES) return fail(why, ERROR_UDIROOT_CONF_INVALID, "etcPath: more than %d files", FILES);
    if (!add_site_file(files, directory, path, names.items[i], why)) return false;
  }
  return true;
}

static void filter_site_group(struct made_files *files, const char *user, uint64_t most) {
  struct made_file *file = find(files, "group");
  if (file == NULL) return;
  AUTO_BUFFER filtered = {0};
  filter_group(&filtered, file->content.at, file->content.length, user, most);
  file->content.length = 0;
  buffer_add(&file->content, filtered.at, filtered.length);
}

bool etc_files_collect(const struct config *config, const struct accounts *accounts, const struct identity *who, struct made_files *files,
                       struct failure *why) {
  uint64_t most = config->udiroot[UDIROOT_MAX_GROUP_COUNT].number;
  *files = (struct made_files){0};
  bool collected = add_host_file(files, "/etc/hosts", "hosts", who, why) && add_host_file(files, "/etc/resolv.conf", "resolv.conf", who, why);
  if (collected && config->udiroot[UDIROOT_POPULATE_ETC_DYNAMICALLY].number != 0) {
    add_generated(files, accounts, most);
  } else if (collected) {
    collected = add_site_directory(files, config->udiroot[UDIROOT_ETC_PATH].text, why);
    filter_site_group(files, accounts->caller.name, most);
  }
  made_files_add(files, "shadow")->mode = 0600; // always empty: nobody logs in inside
  if (!collected) made_files_free(files);
  return collected;
}

// Frees a name. A directory there is the image's mistake.
static bool clear_name(const char *where, int directory, const char *name, struct failure *why) {
  if (unlinkat(directory, name, 0) == 0 || errno == ENOENT) return true;
  if (errno == EISDIR || errno == EPERM) return fail(why, ERROR_IMAGE_LAYOUT, "%s/%s is a directory", where, name);
  return fail(why, ERROR_MOUNT_FAILED, "%s/%s: %s", where, name, strerror(errno));
}

static bool write_one(const struct made_file *file, const char *where, int directory, struct failure *why) {
  if (!clear_name(where, directory, file->name, why)) return false;
  // O_EXCL: the name is new, so no link of the image is followed.
  AUTO_FD fd = openat(directory, file->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd >= 0 && write_all(fd, file->content.at, file->content.length) && fchmod(fd, file->mode) == 0) return true;
  return fail(why, errno == ENOSPC ? ERROR_RESOURCE : ERROR_MOUNT_FAILED, "writing %s/%s: %s", where, file->name, strerror(errno));
}

bool made_files_write(const struct made_files *files, const char *where, int directory, struct failure *why) {
  for (size_t i = 0; i < files->count; i++)
    if (!write_one(&files->items[i], where, directory, why)) return false;
  return true;
}

bool etc_files_write(const struct made_files *files, int directory, struct failure *why) {
  if (!made_files_write(files, "/etc", directory, why) || !clear_name("/etc", directory, "mtab", why)) return false;
  return symlinkat("/proc/mounts", directory, "mtab") == 0 || fail(why, ERROR_MOUNT_FAILED, "/etc/mtab: %s", strerror(errno));
}

void made_files_free(struct made_files *files) {
  for (size_t i = 0; i < files->count; i++) {
    free(files->items[i].name);
    buffer_free(&files->items[i].content);
  }
  free(files->items);
  *files = (struct made_files){0};
}
