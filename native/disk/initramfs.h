// What the guest starts with: its program, its kernel's modules, its orders.
#pragma once
#include "policy/failure.h"

bool initramfs_make(const char *partition, uint64_t entries, uint64_t bytes, struct buffer *archive, struct failure *why) MUST_USE;
