// Block devices of the kernel that reads the disk: the guest's device mapper makes them (mapper.c), or the machine's own loop devices (loops.c).
#pragma once
#include "disk/map.h"

#define DEVICE_PATH 32
#define MOST_DEVICES 256 // of a disk

struct devices;

// A read-only device of a volume.
bool device_make(struct devices *devices, const struct map *map, char path[static DEVICE_PATH], struct failure *why) MUST_USE;
// One that takes writes and keeps them in a throw-away place, so that a journal can be replayed; `path` is the read-only one so far.
bool device_copy(struct devices *devices, const struct map *map, char path[static DEVICE_PATH], struct failure *why) MUST_USE;
// What the kernel calls it in its log: the last part of the device's own name.
void device_name(const struct devices *devices, const char *path, char name[static DEVICE_PATH]);

static inline bool devices_spent(struct failure *why) {
  return fail(why, ERROR_LIMIT_EXCEEDED, "the disk has too many partitions and volumes");
}
