// Where things are in the guest.
#pragma once
#include <stdint.h>

#define GUEST_DISK "/dev/ubda"
#define GUEST_OUTPUT "/dev/ubdb"
#define GUEST_SCRATCH "/dev/ubdc"
#define GUEST_VOICE "/dev/ttyS0"
#define GUEST_ORDERS "/orders"

// What replaying a journal may write: each file system has a part of its own of the scratch file.
#define GUEST_COPIES 8
#define GUEST_COPY (UINT64_C(4) << 30)
