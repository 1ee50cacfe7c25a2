// Loop devices, by descriptor.
#pragma once
#include <sys/types.h>

#include "policy/failure.h"

#define LOOP_PATH 32
enum loop_access { LOOP_READ_ONLY, LOOP_WRITABLE };
// A device over the file that frees itself with its last user; *device stays ours while it is open.
bool loop_attach(int file, enum loop_access access, int *device, char path[static LOOP_PATH], struct failure *why) MUST_USE;
// A device that exists already, if it shows that very file, read-only and from its start: it then goes on doing so while *device is open.
bool loop_hold(unsigned number, dev_t device_of_file, ino_t inode, int *device) MUST_USE;
// The number and path of an open device.
bool loop_name(int device, unsigned *number, char path[static LOOP_PATH]) MUST_USE;
// Whether a new mount is of the device we hold: the path was only a way to it.
bool loop_is_source(int tree, int device, const char *path, struct failure *why) MUST_USE;
