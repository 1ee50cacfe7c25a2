// Loop devices, by descriptor.
#pragma once
#include "policy/failure.h"

#define LOOP_PATH 32
enum loop_access { LOOP_READ_ONLY, LOOP_WRITABLE };
// A device over the file that frees itself with its last user; *device stays ours while it is open.
bool loop_attach(int file, enum loop_access access, int *device, char path[static LOOP_PATH], struct failure *why) MUST_USE;
// Opens a device by its number if it shows that very file, whole and read-only. False: it does not, and nothing is wrong.
bool loop_reuse(int number, int file, int *device, char path[static LOOP_PATH]);
// Its number, or -1.
int loop_number(int device);
// Whether a new mount is of the device we hold: the path was only a way to it.
bool loop_is_source(int tree, int device, const char *path, struct failure *why) MUST_USE;
