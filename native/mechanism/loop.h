// Loop devices, by descriptor.
#pragma once
#include "policy/failure.h"

#define LOOP_PATH 32
// A read-only device over the file that frees itself with its last user; *device stays ours while it is open.
bool loop_attach(int file, int *device, char path[static LOOP_PATH], struct failure *why) MUST_USE;
