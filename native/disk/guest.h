// Where things are in the guest, and what the launcher ordered.
#pragma once
#include "policy/base.h"

#define GUEST_DISK "/dev/ubda"
#define GUEST_OUTPUT "/dev/ubdb"
#define GUEST_SCRATCH "/dev/ubdc"
#define GUEST_VOICE "/dev/ttyS0"
#define GUEST_ORDERS "/orders"
#define GUEST_ROOT "/root"

// What replaying a journal may write: each file system has a part of its own of the scratch file.
#define GUEST_COPIES 8
#define GUEST_COPY (UINT64_C(4) << 30)

struct orders {
  char *partition; // NULL for the only candidate
  uint64_t entries, bytes;
};

// One line to the launcher; `line` has no end yet.
void guest_tell(struct buffer *line);
