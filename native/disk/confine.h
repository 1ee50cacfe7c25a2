// What the reader can still do to the host: trace its own processes, compute, read and write what it was shown.
#pragma once
#include "policy/failure.h"

struct confinement {
  uint64_t memory;     // MiB that it needs for itself
  uint64_t file_most;  // bytes of a file that it writes
  uint64_t seconds;    // of processor time
  uint64_t descriptors;
};

// Limits what it uses, for good.
bool confine_use(const struct confinement *confinement, struct failure *why) MUST_USE;
// Takes every right but one, as a bit of its number, and most system calls away, for good.
bool confine_rights(uint64_t kept, struct failure *why) MUST_USE;
