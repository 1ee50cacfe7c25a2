// The guest's kernel as a process of its own: in namespaces with an empty root, no network and nobody else, without any right.
#pragma once
#include <sys/types.h>

#include "policy/failure.h"

struct launch {
  const char *kernel, *disk, *output, *scratch; // files
  const char *directory;                        // where the empty root is mounted, out of everybody's sight
  const struct buffer *archive;                 // the guest's first file system
  uint64_t memory, seconds;                     // MiB; of processor time
  uint64_t file_most;                           // bytes of the largest file that it may write
  int voice, log;                               // where to the guest, and its kernel, write
  int ready;                                    // gets a byte when every file is open, or what is wrong
};

// Starts it, or says why not. When `*pid` is killed, whatever it started ends with it; it is killed when this process ends.
bool launch_guest(const struct launch *launch, pid_t *pid, struct failure *why) MUST_USE;
