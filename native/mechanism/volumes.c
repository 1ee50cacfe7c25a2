#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mechanism/building.h"
#include "mechanism/cache.h"
#include "mechanism/identity.h"
#include "policy/path.h"

#define DEEPEST 4096 // directories above a place

static bool place_of(int fd, struct place *place) {
  struct statx status;
  if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_MNT_ID, &status) != 0) return false;
  *place = (struct place){status.stx_mnt_id, status.stx_ino, status.stx_dev_major, status.stx_dev_minor, S_ISDIR(status.stx_mode)};
  return true;
}

static bool same_place(const struct place *one, const struct place *other) {
  return one->mount == other->mount && one->inode == other->inode && one->major == other->major && one->minor == other->minor;
}

// The directory of a file: a descriptor of a file has no "..", so the kernel's name for it leads there, and the file must be found again.
static int directory_of(const struct root *root, int file) {
  char self[32], top[PATH_MAX] = "", path[PATH_MAX] = "";
  snprintf(self, sizeof self, "/proc/self/fd/%d", root->fd);
  if (readlink(self, top, sizeof top - 1) < 0) return -1;
  snprintf(self, sizeof self, "/proc/self/fd/%d", file);
  if (readlink(self, path, sizeof path - 1) < 0 || !path_is_within(path, top)) return -1;
  char *slash = strrchr(path, '/');
  *slash = '\0';
  AUTO_FD directory = open_resolved(root->fd, strlen(path) > strlen(top) ? path + strlen(top) : "/", O_PATH | O_DIRECTORY, 0, INSIDE);
  AUTO_FD again = directory < 0 ? -1 : openat(directory, slash + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  struct place found, wanted;
  return place_of(again, &found) && place_of(file, &wanted) && same_place(&found, &wanted) ? steal_fd(&directory) : -1;
}

// Whether what `fd` shows was seen to be neither `above` nor below it: by walking up, so that no name is compared.
static bool is_outside(const struct root *root, int fd, const struct place *above) {
  struct place here, top;
  if (!place_of(root->fd, &top) || !place_of(fd, &here) || same_place(&here, above)) return false;
  AUTO_FD at = here.directory ? open_resolved(fd, ".", O_PATH | O_DIRECTORY, 0, 0) : directory_of(root, fd);
  for (int steps = 0; steps < DEEPEST && place_of(at, &here); steps++) {
    if (same_place(&here, above)) return false;
    if (same_place(&here, &top)) return true;
    int next = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_fd(&at);
    at = next;
  }
  return false;
}

// Where root may not walk, on a root-squashed file system, the user does: the kernel itself knows what is above a directory, so whoever
// asks gets the same answer or none. A walk that neither of them can make says yes.
static bool lies_within(const struct root *root, int fd, const struct place *above) {
  struct failure ignored;
  if (is_outside(root, fd, above)) return false;
  if (!file_identity_set(&root->plan->who, &ignored)) return true;
  bool outside = is_outside(root, fd, above);
  file_identity_root();
  return !outside;
}

bool note_etc(struct root *root) {
  AUTO_FD at = open_resolved(root->etc >= 0 ? root->etc : root->fd, ".", O_PATH | O_DIRECTORY, 0, 0);
  struct place top;
  if (!place_of(root->fd, &top)) return false;
  while (root->etc_count < COUNT_OF(root->etc_places) && place_of(at, &root->etc_places[root->etc_count])) {
    if (same_place(&root->etc_places[root->etc_count++], &top)) return true;
    int next = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cleanup_fd(&at);
    at = next;
  }
  return false;
}

bool hides_etc(const struct root *root, int target) {
  struct place place;
  if (!place_of(target, &place)) return true;
  for (size_t i = 0; i < root->etc_count; i++)
    if (same_place(&place, &root->etc_places[i])) return true;
  return false;
}

// Whether a target leaves alone what is at `path`, which may be missing. Covering a directory above it would hide it.
static bool spares(const struct root *root, int target, const char *path) {
  AUTO_FD kept = open_resolved(root->fd, path, O_PATH, 0, INSIDE);
  struct place place, covered;
  if (kept < 0) return errno == ENOENT || errno == ENOTDIR;
  return place_of(kept, &place) && place_of(target, &covered) && !lies_within(root, target, &place) && !lies_within(root, kept, &covered);
}

static bool spares_map(const struct root *root, int target, const struct volume_map *map) {
  for (size_t i = 0; i < map->count; i++)
    if (!spares(root, target, map->items[i].to)) return false;
  return true;
}

static bool spares_all(const struct root *root, int target, const struct volume *volume) {
  const struct root_plan *plan = root->plan;
  for (size_t i = 0; volume_kept_places[i] != NULL; i++) {
    bool excepted = strcmp(volume_kept_places[i], "/var") == 0 && strcmp(volume->to, "/var/tmp") == 0;
    if (!excepted && !spares(root, target, volume_kept_places[i])) return false;
  }
  if (!spares_map(root, target, &plan->config.udiroot[UDIROOT_SITE_FS].volumes)) return false;
  for (size_t i = 0; i < plan->modules.count; i++)
    if (!spares_map(root, target, &plan->modules.items[i]->values[MODULE_SITE_FS].volumes)) return false;
  return true;
}

// What a permission that is missing can mean besides: FUSE shows nothing to a process of which not every id is its user's.
static const char *hint(void) {
  return errno == EACCES ? " (what FUSE shows, only where it is mounted with allow_other)" : "";
}

// Before: nothing of the user's is attached. After: a copy of what he can reach inside.
static int clone_source(const struct root *root, const struct volume *volume, struct failure *why) {
  if (!file_identity_set(&root->plan->who, why)) return -1;
  AUTO_FD source = open_resolved(root->fd, volume->from, O_PATH, 0, INSIDE);
  file_identity_root();
  AUTO_FD tree = source < 0 ? -1 : tree_clone(source, "", true);
  struct place place;
  // The root becomes read-only at the end; copies of it are so from the start.
  bool read_only = (volume->flags & VOLUME_READ_ONLY) != 0, top = tree >= 0 && !root->plan->writable && on_root_mount(root, source);
  bool set = tree >= 0 && tree_set(tree, SAFE | (read_only ? MOUNT_ATTR_RDONLY : 0), root->propagation, true) &&
             (!top || tree_set(tree, MOUNT_ATTR_RDONLY, 0, false)) && place_of(tree, &place);
  if (!set) return fail(why, ERROR_VOLUME_FAILED, "'%s' is not there inside, or not yours to reach%s", volume->from, hint()), -1;
  return steal_fd(&tree);
}

static bool add_source(const struct root *root, const struct volume *volume, struct trees *trees, struct failure *why) {
  int fd = (volume->flags & VOLUME_CACHE) != 0 ? cache_make(root->plan, volume, why) : clone_source(root, volume, why);
  struct place place;
  if (fd < 0) return false;
  bool directory = place_of(fd, &place) && place.directory;
  trees_add(trees, (struct tree){TREE_USER, fd, NULL, directory, NULL}, volume->to);
  return true;
}

// Directories of the image are found and made with root's rights, since the image is the user's to see; what he reaches beyond them
// must be reachable with his own, and whether root reaches it (root-squashed file systems) means nothing. errno is of what he may see.
static int user_target(const struct root *root, const struct tree *tree, struct failure *why) {
  AUTO_FD target = tree->directory ? inside_directory(root, tree->to) : inside_file(root, tree->to);
  if (target >= 0 && on_root_mount(root, target)) return steal_fd(&target);
  if (!file_identity_set(&root->plan->who, why)) return -1;
  cleanup_fd(&target);
  target = open_resolved(root->fd, tree->to, O_PATH | (tree->directory ? O_DIRECTORY : 0), 0, INSIDE);
  file_identity_root();
  return steal_fd(&target);
}

static bool refuse_target(const struct root *root, const struct tree *tree, size_t number, struct failure *why) {
  const struct volume *volumes = root->plan->volumes.items;
  size_t above = number; // behind the volume that shows the directory in which this one's target would be
  while (above > 0 && !path_is_within(tree->to, volumes[above - 1].to)) above--;
  if (errno == ENOENT && above > 0)
    return fail(why, ERROR_VOLUME_FAILED, "%s is not in what the volume at %s shows, where nothing is made; make it there first", tree->to, volumes[above - 1].to);
  return fail(why, ERROR_VOLUME_FAILED, "%s is no place for a %s%s", tree->to, tree->directory ? "directory" : "file", hint());
}

static bool attach(const struct root *root, const struct tree *tree, size_t number, struct failure *why) {
  AUTO_FD target = user_target(root, tree, why);
  struct place place;
  if (target < 0 || !place_of(target, &place)) return refuse_target(root, tree, number, why);
  if (!spares_all(root, target, &root->plan->volumes.items[number]))
    return fail(why, ERROR_VOLUME_INVALID, "'%s' leads to a place that can't be a target", tree->to);
  return tree_attach(tree->fd, target) || refuse_target(root, tree, number, why);
}

bool attach_user_volumes(const struct root *root, struct failure *why) {
  const struct volume_map *map = &root->plan->volumes;
  struct trees trees = {0};
  bool done = true;
  // All sources first: they mean the root without the user's volumes, so their order means nothing, and copies do not copy copies.
  for (size_t i = 0; done && i < map->count; i++) done = add_source(root, &map->items[i], &trees, why);
  for (size_t i = 0; done && i < trees.count; i++) done = attach(root, &trees.items[i], i, why);
  trees_free(&trees);
  return done;
}
