#include "mechanism/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "mechanism/open.h"

#define LOOP_MAJOR 7
#define ATTEMPTS 500

static int open_device(const char *path, int mode) {
  AUTO_FD device = open(path, mode | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  struct stat status;
  if (device < 0 || fstat(device, &status) != 0) return -1;
  if (S_ISBLK(status.st_mode) && major(status.st_rdev) == LOOP_MAJOR) return steal_fd(&device);
  errno = ENOTBLK;
  return -1;
}

// Another start took the device between asking and configuring: wait a little, each process differently.
static void wait_a_little(int attempt) {
  long spread = (long)getpid() % 7 + 1;
  const struct timespec pause = {.tv_nsec = 100000L * spread * (attempt < 20 ? attempt + 1 : 20)};
  nanosleep(&pause, NULL);
}

// Before: `file` was checked, and only its owner can change it. After: *device shows that very file. Direct I/O is not asked for: the
// page cache of the file is what concurrent starts on a node share.
bool loop_attach(int file, enum loop_access access, int *device, char path[static LOOP_PATH], struct failure *why) {
  AUTO_FD control = open("/dev/loop-control", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (control < 0) return fail(why, ERROR_RESOURCE, "/dev/loop-control: %s", strerror(errno));
  const struct loop_config config = {.fd = (uint32_t)file, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR | (access == LOOP_READ_ONLY ? LO_FLAGS_READ_ONLY : 0)}};
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) return fail(why, ERROR_RESOURCE, "no free loop device: %s", strerror(errno));
    snprintf(path, LOOP_PATH, "/dev/loop%d", number);
    AUTO_FD opened = open_device(path, O_RDWR);
    if (opened < 0 && errno != ENXIO && errno != EBUSY) return fail(why, ERROR_RESOURCE, "%s: %s", path, strerror(errno));
    if (opened >= 0 && ioctl(opened, LOOP_CONFIGURE, &config) == 0) {
      *device = steal_fd(&opened);
      return true;
    }
    if (errno == EINVAL || errno == ENOTTY) return fail(why, ERROR_KERNEL_UNSUPPORTED, "LOOP_CONFIGURE: %s", strerror(errno));
    if (errno != EBUSY && errno != ENXIO && errno != EINTR) return fail(why, ERROR_RESOURCE, "%s: %s", path, strerror(errno));
    wait_a_little(attempt);
  }
  return fail(why, ERROR_RESOURCE, "no loop device became free");
}

// After: the device can't come to show another file, since it is let go only with its last user, and we are one.
bool loop_hold(unsigned number, dev_t device_of_file, ino_t inode, int *device) {
  char path[LOOP_PATH];
  struct loop_info64 info;
  snprintf(path, sizeof path, "/dev/loop%u", number);
  AUTO_FD opened = open_device(path, O_RDONLY);
  if (opened < 0 || ioctl(opened, LOOP_GET_STATUS64, &info) != 0) return false;
  if (info.lo_device != device_of_file || info.lo_inode != inode || (info.lo_flags & LO_FLAGS_READ_ONLY) == 0) return false;
  if (info.lo_offset != 0 || info.lo_sizelimit != 0) return false;
  *device = steal_fd(&opened);
  return true;
}

bool loop_name(int device, unsigned *number, char path[static LOOP_PATH]) {
  struct loop_info64 info;
  if (ioctl(device, LOOP_GET_STATUS64, &info) != 0) return false;
  *number = info.lo_number;
  snprintf(path, LOOP_PATH, "/dev/loop%u", info.lo_number);
  return true;
}

bool loop_is_source(int tree, int device, const char *path, struct failure *why) {
  struct stat mounted, wanted;
  if (fstat(tree, &mounted) == 0 && fstat(device, &wanted) == 0 && mounted.st_dev == wanted.st_rdev) return true;
  return fail(why, ERROR_MOUNT_FAILED, "%s is not the device that was set up", path);
}
