#include "mechanism/descriptors.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mechanism/open.h"

#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446
#endif

bool descriptor_may_stay(int fd) {
  int flags = fcntl(fd, F_GETFL);
  struct stat status;
  struct statfs system;
  if (flags < 0 || (flags & O_PATH) != 0 || fstat(fd, &status) != 0) return false;
  if (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISCHR(status.st_mode)) return true;
  if (!S_ISREG(status.st_mode) || fstatfs(fd, &system) != 0) return false;
  // Namespaces and processes look like regular files.
  long kind = (long)system.f_type;
  return kind != NSFS_MAGIC && kind != PID_FS_MAGIC && kind != ANON_INODE_FS_MAGIC;
}

static bool is_stream_socket(int fd) {
  int domain, type;
  socklen_t domain_size = sizeof domain, type_size = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size) == 0 && domain == AF_UNIX &&
         getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) == 0 && type == SOCK_STREAM;
}

// Before: no descriptor of ours is open, so a number that is open is one the caller opened. After: exec closes it. Kinds are few on
// purpose: what is written there means nothing to a pipe, and could to a device, a file or a socket of another kind.
bool report_take(int fd, struct failure *why) {
  struct stat status;
  int flags = fcntl(fd, F_GETFL);
  bool writable = flags >= 0 && (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY && fstat(fd, &status) == 0;
  if (writable && (S_ISFIFO(status.st_mode) || is_stream_socket(fd)) && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) return true;
  return fail(why, ERROR_USAGE, "--report-fd=%d is no open pipe or stream socket that can be written", fd);
}

static bool replace(int fd) {
  AUTO_FD null = open("/dev/null", O_RDWR | O_CLOEXEC);
  return null >= 0 && dup3(null, fd, 0) == fd;
}

static void filter_one(int fd) {
  if (fcntl(fd, F_GETFD) >= 0 && !descriptor_may_stay(fd)) close(fd);
}

// Through /proc, and false when that is not there.
static bool filter_listed(void) {
  AUTO_FD directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  AUTO_WORDS names = {0}; // noted first: closing while reading the list could skip entries
  struct statfs system;
  if (directory < 0 || fstatfs(directory, &system) != 0 || (long)system.f_type != PROC_SUPER_MAGIC || !names_in(directory, false, &names)) return false;
  for (size_t i = 0; i < names.count; i++) {
    uint64_t fd;
    if (number_parse(names.items[i], strlen(names.items[i]), INT32_MAX, false, &fd) && fd > 2 && (int)fd != directory) filter_one((int)fd);
  }
  return true;
}

// Before: no descriptor of ours is open. After: every open descriptor is one the program inside may keep.
bool descriptors_filter(struct failure *why) {
  for (int fd = 0; fd <= 2; fd++)
    if (!descriptor_may_stay(fd) && !replace(fd)) return fail(why, ERROR_RESOURCE, "descriptor %d could not be replaced", fd);
  if (filter_listed()) return true;
  struct rlimit limit;
  int most = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < 1 << 20 ? (int)limit.rlim_max : 1 << 20;
  for (int fd = 3; fd < most; fd++) filter_one(fd);
  // Above the limit there may be some that were opened before it was lowered.
  if (close_range((unsigned)most, ~0U, 0) != 0) return fail(why, ERROR_KERNEL_UNSUPPORTED, "close_range");
  return true;
}
