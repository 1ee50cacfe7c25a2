#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mechanism/building.h"
#include "policy/path.h"

void trees_add(struct trees *trees, struct tree tree, const char *to) {
  tree.to = memory_copy(to, strlen(to));
  trees->items = memory_resize(trees->items, trees->count + 1, sizeof *trees->items);
  trees->items[trees->count++] = tree;
}

void trees_free(struct trees *trees) {
  for (size_t i = 0; i < trees->count; i++) {
    cleanup_fd(&trees->items[i].fd);
    free(trees->items[i].to);
  }
  free(trees->items);
}

bool on_root_mount(const struct root *root, int fd) {
  struct statx status;
  return statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) == 0 && (status.stx_mask & STATX_MNT_ID) != 0 && status.stx_mnt_id == root->mount;
}

bool note_mount(struct root *root, struct failure *why) {
  struct statx status;
  if (statx(root->fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0 || (status.stx_mask & STATX_MNT_ID) == 0)
    return fail(why, ERROR_KERNEL_UNSUPPORTED, "statx does not tell mount ids");
  root->mount = status.stx_mnt_id;
  return true;
}

// A component of a path, inside the directory that the path before it means. Only where it is a link the whole path is resolved again: were
// it so at each, a deep path would cost its square.
static int step(const struct root *root, int at, const char *component, const char *path, size_t length) {
  int next = openat(at, component, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (next >= 0 || (errno != ELOOP && errno != ENOTDIR)) return next;
  AUTO_FREE char *sofar = memory_copy(path, length);
  return open_resolved(root->fd, sofar, O_PATH | O_DIRECTORY, 0, INSIDE);
}

int inside_directory(const struct root *root, const char *path) {
  AUTO_FD at = open_resolved(root->fd, ".", O_PATH | O_DIRECTORY, 0, INSIDE);
  size_t length = 0;
  const char *end = path;
  for (const char *name = path_component(path, &length); at >= 0 && name != NULL; name = path_component(end, &length)) {
    end = name + length;
    AUTO_FREE char *component = memory_copy(name, length);
    int next = step(root, at, component, path, (size_t)(end - path));
    if (next < 0 && errno == ENOENT && root->growable && on_root_mount(root, at) && mkdirat(at, component, 0755) == 0)
      next = step(root, at, component, path, (size_t)(end - path));
    cleanup_fd(&at);
    at = next;
  }
  return steal_fd(&at);
}

int inside_file(const struct root *root, const char *path) {
  int found = open_resolved(root->fd, path, O_PATH, 0, INSIDE);
  if (found >= 0 || errno != ENOENT || !root->growable) return found;
  const char *slash = strrchr(path, '/');
  AUTO_FREE char *above = memory_copy(path, (size_t)(slash - path));
  AUTO_FD directory = inside_directory(root, above);
  if (directory < 0 || !on_root_mount(root, directory)) return -1;
  AUTO_FD created = openat(directory, slash + 1, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  return created < 0 ? -1 : open_resolved(root->fd, path, O_PATH, 0, INSIDE);
}

int system_directory(const struct root *root, const char *path) {
  const char *name = path + 1;
  uint64_t strict = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
  int fd = open_resolved(root->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, strict);
  if (fd < 0 && errno == ENOENT && root->growable && mkdirat(root->fd, name, 0755) == 0)
    fd = open_resolved(root->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, strict);
  return fd;
}
