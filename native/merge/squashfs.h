// Reads a squashfs without the kernel, and tells a visitor of every name in it. Who wrote it may be a stranger, and what the disk gave back may
// be damaged, so no field is trusted: whatever can't be right is a fault.
// https://dr-emann.github.io/squashfs/
#pragma once
#include "merge/tar.h"

struct squashfs_name {
  const char *path; // components joined by slashes, followed by NUL; the root's is empty
  size_t length;
  unsigned depth;         // components
  struct tar_entry entry; // without its name; attributes, sorted by name, only where `inode` is told of it
  uint32_t number, links; // of its inode, and how many names that says it has
  uint32_t uid, gid;
};

// Each gives false, with a reason, to end the reading.
struct squashfs_visitor {
  void *to;
  enum error_code code; // of what can't be right
  // An inode, by the first of its names; of a regular file its content in order; its end.
  bool (*inode)(void *to, const struct squashfs_name *name, struct failure *why);
  bool (*wants)(void *to, uint64_t length); // whether the next bytes matter: they are told as zeros otherwise. NULL: all do
  bool (*piece)(void *to, const unsigned char *at, uint64_t length, struct failure *why); // NULL: zeros
  bool (*end)(void *to, const struct squashfs_name *name, struct failure *why);
  // A further name of an inode. Never a directory: no directory is told twice, so a circle ends.
  bool (*again)(void *to, const struct squashfs_name *name, struct failure *why);
};

struct squashfs_count {
  uint64_t inodes, promised; // found, and what the superblock says
};

// The names of a directory come together, before what lies below them. The descriptor is a regular file's; its position is not used.
bool squashfs_read(int fd, uint64_t size, const struct squashfs_visitor *visitor, struct squashfs_count *count, struct failure *why) MUST_USE;
