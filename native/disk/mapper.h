// Block devices of the guest's device mapper: a partition, a volume or a throw-away copy is a table of pieces of other devices.
#pragma once
#include "policy/failure.h"

struct map_piece {
  uint64_t start, length; // sectors of 512 bytes
  const char *target;     // linear, striped, snapshot
  char *arguments;        // to be freed
};

struct map {
  struct map_piece *items;
  size_t count, room;
};

void map_add(struct map *map, uint64_t start, uint64_t length, const char *target, const char *format, ...) PRINTF_LIKE(5, 6);
uint64_t map_sectors(const struct map *map);
void map_free(struct map *map);

// The kernel's modules that the initramfs carries.
bool mapper_prepare(struct failure *why) MUST_USE;
// Makes a device; `number` is its place: /dev/dm-NUMBER, at `*major`:`*minor`.
bool mapper_make(const struct map *map, bool read_only, unsigned number, unsigned *major, unsigned *minor, struct failure *why) MUST_USE;
