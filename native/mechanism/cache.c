#include "mechanism/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mechanism/hooks.h"
#include "mechanism/loop.h"
#include "mechanism/mounts.h"
#include "mechanism/open.h"
#include "mechanism/site.h"

// Before: only root can change the directory. After: a file without a name, so nothing is left of it after any end.
static int make_file(const char *path, uint64_t size, struct failure *why) {
  AUTO_FD directory = -1;
  if (!site_open("perNodeCachePath", path, S_IFDIR, &directory, why)) return -1;
  AUTO_FD file = openat(directory, ".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0 && ftruncate(file, (off_t)size) == 0) return steal_fd(&file);
  return fail(why, ERROR_CACHE_REFUSED, "perNodeCachePath %s can't hold a file of %llu bytes: %s", path, (unsigned long long)size, strerror(errno)), -1;
}

// What the maker gets is an opening of its own, so that it can be told whether that is closed again.
static int open_again(int file) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  return open(path, O_RDWR | O_CLOEXEC);
}

// The account that makes file systems may have other processes, and one that has the file open could write what the kernel reads. A lease
// is given only to the last who has it open.
static bool is_ours_alone(int file) {
  return fcntl(file, F_SETLEASE, F_WRLCK) == 0 && fcntl(file, F_SETLEASE, F_UNLCK) == 0;
}

// The file is the maker's while it is made, and root's again before it is mounted.
static bool make_filesystem(const struct root_plan *plan, int file, struct failure *why) {
  const uint32_t maker = (uint32_t)plan->config.runtime[RUNTIME_MKFS_USER].number;
  if (maker == 0 || maker == plan->who.uid) return fail(why, ERROR_UDIROOT_CONF_INVALID, "runtime.conf: mkfsUser is uid %u, root's or the job user's", maker);
  const struct identity account = {.uid = maker, .gid = maker};
  AUTO_FD given = open_again(file);
  if (given < 0) return mount_failed("opening the cache's file for its maker", why);
  const char *const arguments[] = {"-q", "-f", "/proc/self/fd/3", NULL};
  const struct site_program mkfs = {.setting = "mkfsXfsPath", .path = plan->config.udiroot[UDIROOT_MKFS_XFS_PATH].text, .arguments = arguments,
                                    .directory = -1, .descriptor = given, .account = &account};
  if (fchown(file, maker, maker) != 0) return mount_failed("giving the cache's file away", why);
  if (!run_site_program(&mkfs, why)) {
    if (why->code == ERROR_HOOK_FAILED) why->code = ERROR_CACHE_REFUSED; // above all a size that it can't make
    return false;
  }
  cleanup_fd(&given);
  if (fchown(file, 0, 0) != 0) return mount_failed("taking the cache's file back", why);
  return is_ours_alone(file) || fail(why, ERROR_CACHE_REFUSED, "a process of uid %u has the cache's file open", maker);
}

static int mount_cache(const struct root_plan *plan, int file, struct failure *why) {
  char path[LOOP_PATH];
  AUTO_FD device = -1;
  if (!loop_attach(file, LOOP_WRITABLE, &device, path, why)) return -1;
  const struct mount_option options[] = {{"source", path}};
  AUTO_FD tree = mount_create("xfs", options, COUNT_OF(options), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, why);
  AUTO_FD top = tree < 0 ? -1 : openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (tree < 0 || !loop_is_source(tree, device, path, why)) return -1;
  if (top >= 0 && fchmod(top, 0700) == 0 && fchown(top, plan->who.uid, plan->who.gid) == 0) return steal_fd(&tree);
  return mount_failed("giving the cache to its user", why), -1;
}

int cache_make(const struct root_plan *plan, const struct volume *volume, struct failure *why) {
  if (!caches_allowed(&plan->config, &plan->volumes, why)) return -1;
  AUTO_FD file = make_file(plan->config.udiroot[UDIROOT_PER_NODE_CACHE_PATH].text, volume->cache_size, why);
  if (file < 0 || !make_filesystem(plan, file, why)) return -1;
  AUTO_FD tree = mount_cache(plan, file, why);
  if (tree >= 0 && (volume->flags & VOLUME_READ_ONLY) != 0 && !tree_set(tree, MOUNT_ATTR_RDONLY, 0, false)) return mount_failed("the cache", why), -1;
  return steal_fd(&tree);
}
