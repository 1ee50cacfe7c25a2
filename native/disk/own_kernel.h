// The machine's own kernel reads the disk, where the site says so: for root, in a mount namespace that nobody else sees. A kernel takes a crafted
// file system's bytes as they are; what is kept from it here are the files and the rights of the process alone. Its working directory is the scratch
// directory, where copies of volumes are made.
#pragma once
#include "disk/reader.h"
#include <sys/types.h>

struct own_kernel {
  const struct orders *orders;
  uid_t uid; // the account that it reads as
  gid_t gid;
  int disk, output;
  uint64_t disk_size;
  uint64_t memory, seconds; // MiB; of processor time
  int voice, log;           // where it tells, and what goes wrong with it
};

// Starts it, or says why not. Everything that it mounts is gone with `*pid`; it is killed when this process ends.
bool launch_own(const struct own_kernel *own, pid_t *pid, struct failure *why) MUST_USE;
