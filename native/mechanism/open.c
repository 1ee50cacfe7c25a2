#include "mechanism/open.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "policy/path.h"

void cleanup_fd(int *fd) {
  if (*fd < 0) return;
  int kept = errno;
  close(*fd);
  *fd = -1;
  errno = kept;
}

int steal_fd(int *fd) {
  int stolen = *fd;
  *fd = -1;
  return stolen;
}

int open_resolved(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
  long fd = -1;
  for (int attempt = 0; attempt < 32; attempt++) {
    fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  return (int)fd;
}

bool is_protected(const struct stat *status, uid_t owner) {
  return (status->st_uid == 0 || status->st_uid == owner) && (status->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static enum walk walk_error(void) {
  if (errno == ENOENT) return WALK_MISSING;
  return errno == ELOOP || errno == ENOTDIR ? WALK_UNSAFE : WALK_FAILED;
}

// "PATH belongs to uid 7, not to root": the first `length` bytes of a path, or "/".
static char *say_unsafe(const char *path, size_t length, const struct stat *status, uid_t owner) {
  AUTO_BUFFER text = {0};
  if (length == 0) path = "/", length = 1;
  buffer_add(&text, path, length);
  if (status == NULL)
    buffer_text(&text, " is a symbolic link or no directory");
  else if (status->st_uid != 0 && status->st_uid != owner && owner == 0)
    buffer_print(&text, " belongs to uid %u, not to root", status->st_uid);
  else if (status->st_uid != 0 && status->st_uid != owner)
    buffer_print(&text, " belongs to uid %u, not to root or uid %u", status->st_uid, owner);
  else
    buffer_print(&text, " can be changed by others (mode %04o)", status->st_mode & 07777);
  return steal(&text.at);
}

// The path that a symbolic link stands for, `before` bytes into a path: NULL when it is no link.
static char *led_by(int link, const char *path, size_t before, const char *rest) {
  char target[4096];
  ssize_t length = readlinkat(link, "", target, sizeof target);
  if (length <= 0 || (size_t)length == sizeof target) return NULL;
  AUTO_BUFFER led = {0};
  if (target[0] != '/') buffer_add(&led, path, before);
  buffer_add(&led, target, (size_t)length);
  buffer_text(&led, rest);
  return steal(&led.at);
}

// `instead`: NULL, or where the path is put that the first symbolic link leads to; the end may be anything then.
static enum walk walk(const char *path, uid_t owner, char **instead, int *fd, char **unsafe) {
  AUTO_FD at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (at < 0) return WALK_FAILED;
  const char *part = path;
  size_t length = 0;
  for (;;) {
    struct stat status;
    if (fstat(at, &status) != 0) return WALK_FAILED;
    if (!is_protected(&status, owner)) {
      *unsafe = say_unsafe(path, (size_t)(part - path), &status, owner);
      return WALK_UNSAFE;
    }
    const char *name = path_component(part, &length);
    if (name == NULL) break;
    AUTO_FREE char *component = memory_copy(name, length);
    part = name + length;
    int next = openat(at, component, O_PATH | O_NOFOLLOW | O_CLOEXEC | (instead == NULL ? O_DIRECTORY : 0));
    if (next < 0) {
      enum walk result = walk_error();
      if (result == WALK_UNSAFE) *unsafe = say_unsafe(path, (size_t)(part - path), NULL, owner);
      return result;
    }
    close(at);
    at = next;
    if (instead != NULL && (*instead = led_by(at, path, (size_t)(name - path), part)) != NULL) return WALK_OK;
  }
  *fd = steal_fd(&at);
  return WALK_OK;
}

// Before: nothing is trusted but the root directory's descriptor. After: every directory on the way was seen to be changed by root or
// the owner alone, and *fd is the last of them, whatever the path means later.
enum walk walk_protected(const char *path, uid_t owner, int *fd, char **unsafe) {
  return walk(path, owner, NULL, fd, unsafe);
}

// As walk_protected, for root. A link is as safe as the directory that holds it, which was seen to be protected; where it leads is
// walked from the beginning, like the path itself.
enum walk walk_site(const char *path, int *fd, char **unsafe) {
  AUTO_FREE char *at = memory_copy(path, strlen(path));
  for (int links = 0; links < 32; links++) {
    AUTO_FREE char *instead = NULL;
    enum walk result = walk(at, 0, &instead, fd, unsafe);
    if (instead == NULL) return result;
    cleanup_free(&at);
    at = steal(&instead);
  }
  errno = ELOOP;
  return WALK_FAILED;
}

bool names_in(int directory, bool hidden, struct words *names) {
  AUTO_FD readable = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *list = readable < 0 ? NULL : fdopendir(readable);
  if (list == NULL) return false;
  readable = -1;
  errno = 0;
  for (struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list)) {
    bool itself = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (!itself && (hidden || entry->d_name[0] != '.')) words_add_text(names, entry->d_name);
  }
  bool complete = errno == 0;
  closedir(list);
  return complete;
}

bool read_all(int fd, size_t most, struct buffer *content) {
  char chunk[16384];
  buffer_text(content, "");
  for (;;) {
    ssize_t size = read(fd, chunk, sizeof chunk);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return false;
    if (size == 0) return true;
    if (content->length + (size_t)size > most) {
      errno = EFBIG;
      return false;
    }
    buffer_add(content, chunk, (size_t)size);
  }
}

bool write_all(int fd, const void *bytes, size_t length) {
  const char *at = bytes;
  while (length > 0) {
    ssize_t size = write(fd, at, length);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return false;
    at += size;
    length -= (size_t)size;
  }
  return true;
}

void write_message(const struct buffer *text) {
  bool ignored = write_all(STDERR_FILENO, text->at, text->length);
  (void)ignored;
}

// Before: `directory` came from walk_protected, or is as safe. After: the descriptor is of a regular file that only `owner` (or root,
// when it owns the file) can change; O_NONBLOCK keeps a FIFO from stopping us before its type is seen.
enum walk open_protected_file(int directory, const char *name, uid_t owner, size_t most, struct buffer *content, struct opened *opened) {
  AUTO_FD file = open_resolved(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0,
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
  struct stat status;
  if (file < 0) {
    if (errno == ENXIO || errno == EISDIR) return WALK_UNSAFE; // a socket or a FIFO without a writer
    return walk_error();
  }
  if (fstat(file, &status) != 0) return WALK_FAILED;
  if (!S_ISREG(status.st_mode) || status.st_uid != owner || !is_protected(&status, owner)) return WALK_UNSAFE;
  if (content != NULL && !read_all(file, most, content)) return WALK_FAILED;
  if (opened != NULL) *opened = (struct opened){steal_fd(&file), status};
  return WALK_OK;
}
