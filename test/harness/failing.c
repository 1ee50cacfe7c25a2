// Preloaded into a program: counts what it does to files below some directories, and from the Nth of it on lets it fail, or ends the process there,
// as a kill or a power cut would. Only what takes room fails, as on a full disk: removing does not.
//
//   FAILING_BELOW=DIR[:DIR...]  FAILING_AT=N (from 1; 0: counts alone)  FAILING_WITH=kill|ERRNO (number)  FAILING_ONCE=1  FAILING_LOG=FILE (a line for each)
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int count, failed;
static int at, with, log_fd = -1;
static bool once;
static const char *below;

__attribute__((constructor)) static void read_settings(void) {
  const char *text = getenv("FAILING_WITH"), *log = getenv("FAILING_LOG");
  below = getenv("FAILING_BELOW");
  at = atoi(getenv("FAILING_AT") != NULL ? getenv("FAILING_AT") : "0");
  with = text == NULL || strcmp(text, "kill") == 0 ? 0 : atoi(text);
  once = getenv("FAILING_ONCE") != NULL;
  if (log != NULL) log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static bool is_below(const char *path) {
  for (const char *dir = below; dir != NULL && *dir != '\0';) {
    size_t length = strcspn(dir, ":");
    if (strncmp(path, dir, length) == 0 && (path[length] == '/' || path[length] == '\0')) return true;
    dir += length + (dir[length] == ':');
  }
  return false;
}

// Whether a call fails; errno says how. `takes`: it takes room; `from`: what is renamed or linked.
static bool fails(const char *call, const char *path, const char *from, bool takes) {
  if (below == NULL || !is_below(path)) return false;
  int n = atomic_fetch_add(&count, 1) + 1;
  bool hit = at > 0 && (with == 0 ? n == at : n >= at && takes && !(atomic_fetch_add(&failed, 1) > 0 && once));
  if (log_fd >= 0) dprintf(log_fd, "%d %s %s%s%s%s\n", n, call, path, from != NULL ? " " : "", from != NULL ? from : "", hit ? " !" : "");
  if (!hit) return false;
  if (with == 0) kill(getpid(), SIGKILL);
  errno = with;
  return true;
}

static bool fd_fails(const char *call, int fd, bool takes) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return false;
  path[length] = '\0';
  return fails(call, path, NULL, takes);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define BY_PATH(name, takes, parameters, path, from, ...)                              \
  int name parameters { return fails(#name, path, from, takes) ? -1 : REAL(name)(__VA_ARGS__); }
#define BY_FD(type, name, takes, parameters, ...)                                      \
  type name parameters { return fd_fails(#name, fd, takes) ? -1 : REAL(name)(__VA_ARGS__); }

BY_PATH(mkdir, true, (const char *path, mode_t mode), path, NULL, path, mode)
BY_PATH(rmdir, false, (const char *path), path, NULL, path)
BY_PATH(unlink, false, (const char *path), path, NULL, path)
BY_PATH(rename, true, (const char *from, const char *to), to, from, from, to)
BY_PATH(link, true, (const char *from, const char *to), to, from, from, to)
BY_FD(int, fsync, true, (int fd), fd)
BY_FD(int, fdatasync, true, (int fd), fd)
BY_FD(int, fchmod, true, (int fd, mode_t mode), fd, mode)
BY_FD(int, fchown, true, (int fd, uid_t uid, gid_t gid), fd, uid, gid)
BY_FD(int, ftruncate, true, (int fd, off_t size), fd, size)
BY_FD(int, ftruncate64, true, (int fd, off64_t size), fd, size)
BY_FD(ssize_t, write, true, (int fd, const void *at_, size_t size), fd, at_, size)
BY_FD(ssize_t, writev, true, (int fd, const struct iovec *pieces, int n), fd, pieces, n)
BY_FD(ssize_t, pwrite, true, (int fd, const void *at_, size_t size, off_t to), fd, at_, size, to)
BY_FD(ssize_t, pwrite64, true, (int fd, const void *at_, size_t size, off64_t to), fd, at_, size, to)
BY_FD(ssize_t, pwritev, true, (int fd, const struct iovec *pieces, int n, off_t to), fd, pieces, n, to)
BY_FD(ssize_t, pwritev64, true, (int fd, const struct iovec *pieces, int n, off64_t to), fd, pieces, n, to)

#define OPEN(name)                                                                                 \
  int name(const char *path, int flags, ...) {                                                     \
    va_list more;                                                                                  \
    va_start(more, flags);                                                                         \
    mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;               \
    va_end(more);                                                                                  \
    bool makes = (flags & O_CREAT) != 0 && access(path, F_OK) != 0;                                \
    return makes && fails(#name, path, NULL, true) ? -1 : REAL(name)(path, flags, mode);                 \
  }
OPEN(open)
OPEN(open64)
