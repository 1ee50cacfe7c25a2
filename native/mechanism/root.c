#include "mechanism/root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mechanism/identity.h"
#include "mechanism/mounts.h"
#include "mechanism/open.h"
#include "mechanism/rights.h"
#include "policy/path.h"

#define SAFE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
#define INSIDE (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

// Something of the host that is shown inside, cloned before the root is built and attached when it is.
enum tree_kind { TREE_SYSTEM, TREE_SHARED, TREE_SITE, TREE_HOME };
struct host_tree {
  enum tree_kind kind;
  int fd;
  char *to;
  bool directory;
};

struct host_trees {
  struct host_tree *items;
  size_t count;
};

struct root {
  const struct root_plan *plan;
  int scratch; // the private tmpfs
  int fd;      // the root that is built
  int etc;     // its /etc
  uint64_t mount; // its id
  bool growable; // mount points can be made: an overlay of ours, not a directory of the host
  struct host_trees trees;
};

static void free_trees(struct host_trees *trees) {
  for (size_t i = 0; i < trees->count; i++) {
    cleanup_fd(&trees->items[i].fd);
    free(trees->items[i].to);
  }
  free(trees->items);
}

static void add_tree(struct host_trees *trees, enum tree_kind kind, int fd, const char *to, bool directory) {
  trees->items = memory_resize(trees->items, trees->count + 1, sizeof *trees->items);
  trees->items[trees->count++] = (struct host_tree){kind, fd, memory_copy(to, strlen(to)), directory};
}

// --- Clones of the host, taken while its mounts are still as the caller sees them ---

static bool clone_system(struct host_trees *trees, const char *path, uint64_t attributes, struct failure *why) {
  AUTO_FD tree = tree_clone(AT_FDCWD, path, true);
  if (tree < 0 || !tree_set(tree, attributes, MS_PRIVATE, true)) return mount_failed(path, why);
  add_tree(trees, TREE_SYSTEM, steal_fd(&tree), path, true);
  return true;
}

// /tmp and /var/tmp: left out where the host has none.
static bool clone_shared(struct host_trees *trees, const char *path, uint64_t propagation, struct failure *why) {
  AUTO_FD tree = tree_clone(AT_FDCWD, path, true);
  if (tree < 0 && errno == ENOENT) return true;
  if (tree < 0 || !tree_set(tree, SAFE, propagation, true)) return mount_failed(path, why);
  add_tree(trees, TREE_SHARED, steal_fd(&tree), path, true);
  return true;
}

static bool clone_site(struct host_trees *trees, const struct volume *volume, uint64_t propagation, struct failure *why) {
  // A namespace of fewer rights has the host's mounts in one piece.
  bool recursive = without_setuid || (volume->flags & VOLUME_RECURSIVE) != 0;
  uint64_t attributes = SAFE | ((volume->flags & VOLUME_READ_ONLY) != 0 ? MOUNT_ATTR_RDONLY : 0);
  if ((volume->flags & VOLUME_SLAVE) != 0) propagation = MS_SLAVE;
  if ((volume->flags & VOLUME_PRIVATE) != 0) propagation = MS_PRIVATE;
  struct stat status;
  AUTO_FD tree = tree_clone(AT_FDCWD, volume->from, recursive);
  if (tree < 0 || !tree_set(tree, attributes, propagation, recursive) || fstat(tree, &status) != 0)
    return fail(why, ERROR_SITE_FS_FAILED, "%s: %s", volume->from, strerror(errno));
  add_tree(trees, TREE_SITE, steal_fd(&tree), volume->to, S_ISDIR(status.st_mode));
  return true;
}

// The home directory, as far as the caller himself can reach it; none is no mistake.
static bool clone_home(struct host_trees *trees, const struct root_plan *plan, uint64_t propagation, struct failure *why) {
  if (plan->config.runtime[RUNTIME_MOUNT_HOME].number == 0 || !home_is_mountable(plan->accounts.caller.home)) return true;
  AUTO_FREE char *home = path_clean(plan->accounts.caller.home, strlen(plan->accounts.caller.home));
  if (volume_map_covers(&plan->config.udiroot[UDIROOT_SITE_FS].volumes, home)) return true;
  if (!file_identity_set(&plan->who, why)) return false;
  AUTO_FD source = open_resolved(AT_FDCWD, home, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS);
  file_identity_root();
  if (source < 0) return true;
  AUTO_FD tree = tree_clone(source, "", true);
  if (tree < 0 || !tree_set(tree, SAFE, propagation, true)) return mount_failed("the home directory", why);
  add_tree(trees, TREE_HOME, steal_fd(&tree), home, true);
  return true;
}

// The directory of a local image. What was opened before belongs to the namespace that was left, so it is reached once more with the
// caller's rights, and must still be the same.
static bool clone_local(struct root *root, struct failure *why) {
  const struct image *image = &root->plan->image;
  struct stat wanted, found;
  if (!file_identity_set(&root->plan->who, why)) return false;
  AUTO_FD source = open_resolved(AT_FDCWD, image->id, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS);
  file_identity_root();
  if (source < 0 || fstat(source, &found) != 0 || fstat(image->fd, &wanted) != 0 || wanted.st_dev != found.st_dev || wanted.st_ino != found.st_ino)
    return fail(why, ERROR_IMAGE_NOT_FOUND, "there is no image 'local:%s' for you", image->id);
  root->fd = tree_clone(source, "", true);
  return (root->fd >= 0 && tree_set(root->fd, SAFE | MOUNT_ATTR_RDONLY, MS_PRIVATE, true)) || mount_failed("the local image", why);
}

static bool clone_host(struct root *root, struct failure *why) {
  const struct config *config = &root->plan->config;
  struct host_trees *trees = &root->trees;
  const char *style = config->udiroot[UDIROOT_MOUNT_PROPAGATION_STYLE].text;
  uint64_t propagation = strcmp(style, "slave") == 0 ? MS_SLAVE : MS_PRIVATE;
  bool cloned = clone_system(trees, "/proc", SAFE | MOUNT_ATTR_NOEXEC, why) &&
                clone_system(trees, "/sys", SAFE | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY, why) &&
                clone_system(trees, "/dev", MOUNT_ATTR_NOSUID, why) && clone_shared(trees, "/tmp", propagation, why) &&
                clone_shared(trees, "/var/tmp", propagation, why);
  const struct volume_map *site = &config->udiroot[UDIROOT_SITE_FS].volumes;
  for (size_t i = 0; cloned && i < site->count; i++) cloned = clone_site(trees, &site->items[i], propagation, why);
  return cloned && clone_home(trees, root->plan, propagation, why);
}

// --- The root itself ---

// Before: `/` is private in this namespace. After: a tmpfs nobody else sees covers udiMount.
static bool mount_scratch(struct root *root, struct failure *why) {
  AUTO_FD target = scratch_place(&root->plan->config, why);
  if (target < 0) return false;
  const struct mount_option options[] = {{"mode", "0755"}, {"size", "64m"}, {"nr_inodes", "65536"}};
  root->scratch = mount_create("tmpfs", options, COUNT_OF(options), SAFE, why);
  if (root->scratch < 0) return false;
  if (!tree_attach(root->scratch, target)) return mount_failed("attaching the tmpfs", why);
  static const char *const names[] = {"lower", "upper", "work", "root", "etc"};
  for (size_t i = 0; i < COUNT_OF(names); i++)
    if (mkdirat(root->scratch, names[i], 0755) != 0) return mount_failed("filling the tmpfs", why);
  return true;
}

static bool attach_at(int tree, int directory, const char *name, struct failure *why) {
  AUTO_FD target = openat(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return (target >= 0 && tree_attach(tree, target)) || mount_failed(name, why);
}

// Before: the image file was opened and checked. After: it is mounted read-only at "lower".
static bool mount_image(struct root *root, struct failure *why) {
  AUTO_FD tree = layer_mount(root->plan, why);
  return tree >= 0 && attach_at(tree, root->scratch, "lower", why);
}

// Layer paths are relative to the tmpfs, so no character of a site's path can mean anything to the overlay.
static bool mount_overlay(struct root *root, struct failure *why) {
  if (fchdir(root->scratch) != 0) return mount_failed("entering the tmpfs", why);
  struct mount_option options[] = {{"source", "shifter"}, {"lowerdir", "lower"}, {"upperdir", "upper"}, {"workdir", "work"},
                                   {"index", "off"}, {"redirect_dir", "nofollow"}, {"metacopy", "off"}};
  size_t count = COUNT_OF(options);
  // In a user namespace its marks are user.* attributes; the kernel then follows and makes no redirects or metacopies.
  if (without_setuid) options[--count - 1] = (struct mount_option){"userxattr", NULL};
  root->fd = mount_create("overlay", options, count, SAFE, why);
  root->growable = true;
  return root->fd >= 0 && attach_at(root->fd, root->scratch, "root", why);
}

// A local directory is shown as it is: nothing is created in it, since it is the host's and perhaps the user's own.
static bool mount_local(struct root *root, struct failure *why) {
  return attach_at(root->fd, root->scratch, "root", why);
}

// --- Places inside the root ---

static bool on_root_mount(const struct root *root, int fd) {
  struct statx status;
  return statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) == 0 && (status.stx_mask & STATX_MNT_ID) != 0 && status.stx_mnt_id == root->mount;
}

static bool note_mount(struct root *root, struct failure *why) {
  struct statx status;
  if (statx(root->fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0 || (status.stx_mask & STATX_MNT_ID) == 0)
    return fail(why, ERROR_KERNEL_UNSUPPORTED, "statx does not tell mount ids");
  root->mount = status.stx_mnt_id;
  return true;
}

// The directory a path means inside, links of the image resolved inside. What is missing is created, but only in our own overlay:
// a link that leads into something of the host creates nothing there. -1 with errno.
static int inside_directory(const struct root *root, const char *path) {
  AUTO_FD at = open_resolved(root->fd, ".", O_PATH | O_DIRECTORY, 0, INSIDE);
  size_t length = 0;
  const char *end = path;
  for (const char *name = path_component(path, &length); at >= 0 && name != NULL; name = path_component(end, &length)) {
    end = name + length;
    AUTO_FREE char *sofar = memory_copy(path, (size_t)(end - path));
    AUTO_FREE char *component = memory_copy(name, length);
    int next = open_resolved(root->fd, sofar, O_PATH | O_DIRECTORY, 0, INSIDE);
    if (next < 0 && errno == ENOENT && root->growable && on_root_mount(root, at) && mkdirat(at, component, 0755) == 0)
      next = open_resolved(root->fd, sofar, O_PATH | O_DIRECTORY, 0, INSIDE);
    cleanup_fd(&at);
    at = next;
  }
  return steal_fd(&at);
}

// As above for a file that is to be covered by another.
static int inside_file(const struct root *root, const char *path) {
  int found = open_resolved(root->fd, path, O_PATH, 0, INSIDE);
  if (found >= 0 || errno != ENOENT || !root->growable) return found;
  const char *slash = strrchr(path, '/');
  AUTO_FREE char *above = memory_copy(path, (size_t)(slash - path));
  AUTO_FD directory = inside_directory(root, above);
  if (directory < 0 || !on_root_mount(root, directory)) return -1;
  AUTO_FD created = openat(directory, slash + 1, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  return created < 0 ? -1 : open_resolved(root->fd, path, O_PATH, 0, INSIDE);
}

// /proc, /sys and /dev: a real directory of the image, or made here.
static int system_directory(const struct root *root, const char *path) {
  const char *name = path + 1;
  uint64_t strict = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
  int fd = open_resolved(root->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, strict);
  if (fd < 0 && errno == ENOENT && root->growable && mkdirat(root->fd, name, 0755) == 0)
    fd = open_resolved(root->fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, strict);
  return fd;
}

static bool is_same(int one, int other) {
  struct stat first, second;
  return one >= 0 && other >= 0 && fstat(one, &first) == 0 && fstat(other, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

static bool attach_tree(const struct root *root, const struct host_tree *tree, struct failure *why) {
  AUTO_FD target = -1;
  if (tree->kind == TREE_SYSTEM)
    target = system_directory(root, tree->to);
  else
    target = tree->directory ? inside_directory(root, tree->to) : inside_file(root, tree->to);
  // A link of the image must not put what others can write over its root or over the files written for the caller.
  if (is_same(target, root->fd) || is_same(target, root->etc)) return fail(why, ERROR_IMAGE_LAYOUT, "%s leads to / or /etc", tree->to);
  if (target >= 0 && tree_attach(tree->fd, target)) return true;
  switch (tree->kind) {
  case TREE_HOME:
    return true; // the program starts in another directory then, and says so
  case TREE_SITE:
    return fail(why, ERROR_SITE_FS_FAILED, "no mount point %s inside: %s", tree->to, strerror(errno));
  case TREE_SHARED:
    if (!root->growable && errno == ENOENT) return true;
    break;
  case TREE_SYSTEM:
    break;
  }
  if (errno == ENOTDIR || errno == ELOOP || errno == EEXIST || errno == ENOENT)
    return fail(why, ERROR_IMAGE_LAYOUT, "%s is not a directory", tree->to);
  return mount_failed(tree->to, why);
}

// --- /etc ---

static bool write_etc(struct root *root, struct failure *why) {
  root->etc = inside_directory(root, "/etc");
  if (root->etc < 0) return fail(why, ERROR_IMAGE_LAYOUT, "/etc is not a directory");
  return etc_files_write(&root->plan->etc, root->etc, why);
}

// In a local directory files that exist are covered, since nothing can be written there.
static bool cover_etc(struct root *root, struct failure *why) {
  AUTO_FD made = openat(root->scratch, "etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (made < 0 || !etc_files_write(&root->plan->etc, made, why)) return made < 0 ? mount_failed("etc", why) : false;
  int directory = root->etc = open_resolved(root->fd, "etc", O_PATH | O_DIRECTORY, 0, INSIDE);
  for (size_t i = 0; directory >= 0 && i < root->plan->etc.count; i++) {
    const char *name = root->plan->etc.items[i].name;
    struct stat status;
    AUTO_FD target = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0 || fstat(target, &status) != 0 || !S_ISREG(status.st_mode)) continue;
    AUTO_FD tree = tree_clone(made, name, false);
    if (tree < 0 || !tree_set(tree, SAFE | MOUNT_ATTR_RDONLY, MS_PRIVATE, false) || !tree_attach(tree, target))
      return mount_failed("covering a file in /etc", why);
  }
  return true;
}

// --- The whole ---

static bool leave_host(const struct root *root, struct failure *why) {
  // The new root goes on top of the old one, which is then detached with everything below it, the tmpfs included.
  if (fchdir(root->fd) != 0) return mount_failed("entering the root", why);
  if (syscall(SYS_pivot_root, ".", ".") != 0) return mount_failed("pivot_root", why);
  if (umount2(".", MNT_DETACH) != 0) return mount_failed("detaching the host", why);
  return chdir("/") == 0 || mount_failed("entering the new root", why);
}

// Mount points of the image are written and resolved before anything of the host is attached: until then there is nothing that a link
// of the image could lead to but the image itself.
static bool build(struct root *root, struct failure *why) {
  if (!clone_host(root, why) || (root->plan->image.local && !clone_local(root, why))) return false;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return mount_failed("making / private", why);
  if (!mount_scratch(root, why)) return false;
  bool image = root->plan->image.local ? mount_local(root, why) : mount_image(root, why) && mount_overlay(root, why);
  if (!image || !note_mount(root, why)) return false;
  if (!(root->growable ? write_etc(root, why) : cover_etc(root, why))) return false;
  for (size_t i = 0; i < root->trees.count; i++)
    if (!attach_tree(root, &root->trees.items[i], why)) return false;
  if (!tree_set(root->fd, SAFE | MOUNT_ATTR_RDONLY, 0, false)) return mount_failed("making the root read-only", why);
  return leave_host(root, why);
}

bool root_enter(const struct root_plan *plan, struct failure *why) {
  struct root root = {.plan = plan, .scratch = -1, .fd = -1, .etc = -1};
  if (!namespace_enter(plan, why)) return false;
  bool built = build(&root, why);
  cleanup_fd(&root.scratch);
  cleanup_fd(&root.fd);
  cleanup_fd(&root.etc);
  free_trees(&root.trees);
  return built;
}
