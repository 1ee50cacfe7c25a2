#include "mechanism/pins.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mechanism/mounts.h"
#include "mechanism/open.h"
#include "mechanism/prepared.h"

static bool failed(const char *step, struct failure *why) {
  return fail(why, ERROR_PREPARE_FAILED, "%s: %s", step, strerror(errno));
}

// A descriptor of what is there now: the tmpfs, or the directory below it. -1 with errno.
static int open_now(int run, bool *mounted) {
  struct statx status;
  AUTO_FD pins = openat(run, PINS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (pins < 0 || statx(pins, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status) != 0) return -1;
  *mounted = (status.stx_attributes_mask & status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  return steal_fd(&pins);
}

static bool mount_tmpfs(int directory, struct failure *why) {
  const struct mount_option options[] = {{"source", "shifter"}, {"mode", "0700"}, {"size", "1m"}, {"nr_inodes", "65536"}};
  AUTO_FD tree = mount_create("tmpfs", options, COUNT_OF(options), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, why);
  return tree >= 0 && (tree_attach(tree, directory) || mount_failed("attaching the tmpfs of pins", why));
}

// Before: `run` is root's own. After: as pins.h says; the mount is private, even where the run directory is shared with others.
int pins_open(int run, bool make, struct failure *why) {
  bool mounted = false;
  AUTO_FD found = open_now(run, &mounted);
  AUTO_FD lock = -1;
  if (!mounted && !make) return -1;
  if (found >= 0 && !mounted) {
    lock = openat(run, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!lock_take(lock)) return failed("another process is at the run directory", why), -1;
    cleanup_fd(&found);
    found = open_now(run, &mounted);
    if (found >= 0 && !mounted && !mount_tmpfs(found, why)) return -1;
    cleanup_fd(&found);
    found = open_now(run, &mounted);
  }
  if (found < 0 || !mounted) return failed("the directory of pins", why), -1;
  if (!tree_set(found, 0, MS_PRIVATE, false)) return failed("making the directory of pins private", why), -1;
  return steal_fd(&found);
}

void pin_drop(int pins, const char *name) {
  // By name, in a directory that nobody else can change; a name that is no mount point gives EINVAL.
  if (fchdir(pins) == 0) umount2(name, MNT_DETACH | UMOUNT_NOFOLLOW);
  unlinkat(pins, name, 0);
}

void pins_sweep(int pins, const char *job, const char *uid, const struct words *kept) {
  AUTO_WORDS names = {0};
  names_in(pins, true, &names);
  for (size_t i = 0; i < names.count; i++)
    if (pin_is_of(names.items[i], uid, job) && (kept == NULL || !words_hold(kept, names.items[i]))) pin_drop(pins, names.items[i]);
}

void pins_sweep_lost(int run, int pins) {
  AUTO_WORDS names = {0};
  names_in(pins, true, &names);
  for (size_t i = 0; i < names.count; i++) {
    AUTO_FREE char *uid = NULL, *job = NULL;
    if (!pin_parse(names.items[i], &uid, &job)) continue;
    errno = 0;
    AUTO_FD directory = job_open(run, job, uid);
    if (directory < 0 && errno == ENOENT) pin_drop(pins, names.items[i]);
  }
}

bool pin_make(int pins, const char *name, int process, struct buffer *space, struct failure *why) {
  char path[64];
  struct stat status;
  snprintf(path, sizeof path, "/proc/%d/ns/mnt", process);
  AUTO_FD file = openat(pins, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0 || fchdir(pins) != 0) return failed("the file of a pin", why);
  if (stat(path, &status) == 0 && mount(path, name, NULL, MS_BIND, NULL) == 0) {
    buffer_print(space, "%llu:%llu", (unsigned long long)status.st_dev, (unsigned long long)status.st_ino);
    return true;
  }
  failed("pinning the namespace", why);
  pin_drop(pins, name);
  return false;
}

void pins_close(int run, int *pins) {
  cleanup_fd(pins);
  // Refused as long as anything is mounted below it, or anyone has it open.
  if (fchdir(run) == 0) umount2(PINS, UMOUNT_NOFOLLOW);
}
