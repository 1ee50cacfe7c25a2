#include "mechanism/pins.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mechanism/mounts.h"
#include "mechanism/open.h"
#include "mechanism/prepared.h"

// What is at a place now: the tmpfs, or the directory below it. -1 with errno.
static int open_place(int run, unsigned number, bool *mounted) {
  AUTO_BUFFER name = {0};
  struct statx status;
  pin_place(number, &name);
  AUTO_FD place = openat(run, name.at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (place < 0 || statx(place, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status) != 0) return -1;
  *mounted = (status.stx_attributes_mask & status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  return steal_fd(&place);
}

static bool mount_tmpfs(int directory, struct failure *why) {
  const struct mount_option options[] = {{"source", "shifter"}, {"mode", "0700"}, {"size", "1m"}, {"nr_inodes", "65536"}};
  AUTO_FD tree = mount_create("tmpfs", options, COUNT_OF(options), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, why);
  return tree >= 0 && (tree_attach(tree, directory) || mount_failed("attaching the tmpfs of pins", why));
}

// Nobody is waited for longer than a mount takes: who holds the lock of a place may have been stopped.
static bool mount_place(int run, unsigned number, struct failure *why) {
  AUTO_BUFFER name = {0};
  bool mounted = false;
  pin_place(number, &name);
  if (mkdirat(run, name.at, 0700) != 0 && errno != EEXIST) return prepare_failed(name.at, why);
  AUTO_FD lock = open_place(run, number, &mounted);
  if (lock < 0) return prepare_failed(name.at, why);
  if (mounted) return true;
  if (!lock_take(lock, 200)) return prepare_failed("others are at every directory of pins", why);
  AUTO_FD now = open_place(run, number, &mounted);
  return now >= 0 && (mounted || mount_tmpfs(now, why));
}

// After: a mount of our own namespace that is private, even where the run directory is shared with others.
static int take_place(int run, unsigned number) {
  bool mounted = false;
  AUTO_FD place = open_place(run, number, &mounted);
  return place >= 0 && mounted && tree_set(place, 0, MS_PRIVATE, false) ? steal_fd(&place) : -1;
}

void pins_open(int run, struct pins *pins) {
  for (unsigned i = 0; i < PIN_PLACES; i++) pins->fds[i] = take_place(run, i);
}

int pins_place(int run, struct pins *pins, struct failure *why) {
  for (int i = 0; i < PIN_PLACES; i++)
    if (pins->fds[i] >= 0) return i;
  for (int i = 0; i < PIN_PLACES; i++) {
    if (!mount_place(run, (unsigned)i, why)) continue;
    pins->fds[i] = take_place(run, (unsigned)i);
    if (pins->fds[i] >= 0) return i;
    prepare_failed("the directory of pins", why);
  }
  return -1;
}

void pin_drop(int place, const char *name) {
  // By name, in a directory that nobody else can change; a name that is no mount point gives EINVAL.
  if (fchdir(place) == 0) umount2(name, MNT_DETACH | UMOUNT_NOFOLLOW);
  unlinkat(place, name, 0);
}

typedef bool judge(const void *context, const char *place, const char *name);

static void sweep(const struct pins *pins, judge *is_to_go, const void *context) {
  for (unsigned i = 0; i < PIN_PLACES; i++) {
    AUTO_WORDS names = {0};
    AUTO_BUFFER place = {0};
    pin_place(i, &place);
    if (pins->fds[i] >= 0) names_in(pins->fds[i], true, &names);
    for (size_t j = 0; j < names.count; j++)
      if (is_to_go(context, place.at, names.items[j])) pin_drop(pins->fds[i], names.items[j]);
  }
}

struct keep {
  const char *job, *uid;
  const struct words *kept;
};

static bool is_not_kept(const void *context, const char *place, const char *name) {
  const struct keep *keep = context;
  AUTO_BUFFER path = {0};
  buffer_print(&path, "%s/%s", place, name);
  return pin_is_of(name, keep->uid, keep->job) && (keep->kept == NULL || !words_hold(keep->kept, path.at));
}

void pins_sweep(const struct pins *pins, const char *job, const char *uid, const struct words *kept) {
  const struct keep keep = {job, uid, kept};
  sweep(pins, is_not_kept, &keep);
}

static bool is_lost(const void *context, const char *place, const char *name) {
  const int *run = context;
  AUTO_FREE char *uid = NULL, *job = NULL;
  (void)place;
  if (!pin_parse(name, &uid, &job)) return false;
  errno = 0;
  AUTO_FD directory = job_open(*run, job, uid);
  return directory < 0 && errno == ENOENT;
}

void pins_sweep_lost(const struct pins *pins, int run) {
  sweep(pins, is_lost, &run);
}

bool pin_make(int place, const char *name, int process, struct buffer *space, bool *order, struct failure *why) {
  char path[64];
  struct stat status;
  snprintf(path, sizeof path, "/proc/%d/ns/mnt", process);
  AUTO_FD file = openat(place, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0 || fchdir(place) != 0) return prepare_failed("the file of a pin", why);
  if (stat(path, &status) == 0 && mount(path, name, NULL, MS_BIND, NULL) == 0) {
    buffer_print(space, "%llu:%llu", (unsigned long long)status.st_dev, (unsigned long long)status.st_ino);
    return true;
  }
  *order = errno == EINVAL;
  prepare_failed("pinning the namespace", why);
  pin_drop(place, name);
  return false;
}

void pins_close(int run, struct pins *pins) {
  for (unsigned i = 0; i < PIN_PLACES; i++) {
    if (pins->fds[i] < 0) continue;
    AUTO_BUFFER name = {0};
    pin_place(i, &name);
    cleanup_fd(&pins->fds[i]);
    // Refused as long as anything is mounted below it, or anyone has it open.
    if (fchdir(run) == 0) umount2(name.at, UMOUNT_NOFOLLOW);
  }
}
