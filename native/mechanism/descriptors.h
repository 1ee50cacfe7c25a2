// Which inherited descriptors the program inside may keep.
#pragma once
#include "policy/failure.h"

// Pipes, sockets, regular files and character devices are kept; whatever could lead to the host's tree is closed,
// and replaced by /dev/null on 0, 1 and 2.
bool descriptors_filter(struct failure *why) MUST_USE;
bool descriptor_may_stay(int fd);
// Takes a pipe or stream socket of the caller's to tell a refusal on; the program inside never has it.
bool report_take(int fd, struct failure *why) MUST_USE;
