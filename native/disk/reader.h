// Reading the system on a disk, in the guest or by the machine's own kernel: its file systems are mounted below one root, and become an archive.
#pragma once
#include "disk/volumes.h"

#define READER_ROOT "/root"
#define READER_DESCRIPTORS 4096 // a directory that is read stays open

struct orders {
  const char *partition; // NULL for the only candidate
  uint64_t entries, bytes;
};

// Where what is told goes.
void reader_voice(int fd);
// One line to the launcher; `line` has no end yet.
void reader_tell(struct buffer *line);
void reader_tell_fault(const struct failure *why);

// Finds the system and mounts all of it.
bool reader_mount(struct volumes *volumes, const struct orders *orders, struct failure *why) MUST_USE;
// Writes what is mounted, and says so.
bool reader_write(int output, const struct orders *orders, struct failure *why) MUST_USE;
