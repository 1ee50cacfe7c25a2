// Descriptors, and opening what must not be changed by anyone else.
#pragma once
#include <sys/stat.h>
#include <sys/types.h>

#include "policy/failure.h"

void cleanup_fd(int *fd);
int steal_fd(int *fd) MUST_USE;
#define AUTO_FD CLEANUP(cleanup_fd) int

// openat2; -1 with errno. EAGAIN, which a rename elsewhere may cause, is tried again a few times.
int open_resolved(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) MUST_USE;
// Owned by root or `owner`, and not writable by group or others.
bool is_protected(const struct stat *status, uid_t owner);

enum walk { WALK_OK, WALK_MISSING, WALK_UNSAFE, WALK_FAILED };
// Opens an absolute directory component by component; each is a real directory and protected. errno tells more of WALK_FAILED,
// *unsafe says of WALK_UNSAFE which directory is not protected, and why (to be freed).
enum walk walk_protected(const char *path, uid_t owner, int *fd, char **unsafe) MUST_USE;
// What a site's setting names: a file or directory, below directories that are protected for root wherever root's links lead; it is
// protected itself.
enum walk walk_site(const char *path, int *fd, char **unsafe) MUST_USE;
// A regular file right in a directory: no link, protected, at most `most` bytes. Its content, unless `content` is NULL, and what it was
// opened as, with its status, so that nobody asks a distant file system again.
struct opened {
  int fd;
  struct stat status;
};
enum walk open_protected_file(int directory, const char *name, uid_t owner, size_t most, struct buffer *content, struct opened *opened) MUST_USE;
// Names in a directory, without those that begin with a dot unless `hidden`; false with errno.
bool names_in(int directory, bool hidden, struct words *names);
// Reads to the end; false with errno (EFBIG above `most`).
bool read_all(int fd, size_t most, struct buffer *content) MUST_USE;
bool write_all(int fd, const void *bytes, size_t length) MUST_USE;
// A message on standard error; that it can't be written is told to nobody.
void write_message(const struct buffer *text);
