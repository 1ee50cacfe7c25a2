// The pieces of the disk that a partition or a logical volume is made of, in their order and without gaps.
#pragma once
#include "disk/input.h"

#define SECTOR UINT64_C(512)

struct map_piece { // sectors
  uint64_t start, length;
  uint64_t stripe_size; // 0 for a single stripe
  uint64_t *stripes;    // where on the disk each begins
  size_t stripe_count;
};

struct map {
  struct map_piece *items;
  size_t count, room;
};

// Takes as much of each stripe as the piece's length needs; a length that is no whole number of rows is the caller's mistake.
void map_add(struct map *map, uint64_t length, uint64_t stripe_size, const uint64_t *stripes, size_t stripe_count);
uint64_t map_size(const struct map *map); // bytes
void map_free(struct map *map);

struct map_run { // bytes
  uint64_t place, length;
};
// Where on the disk the volume's byte `offset` lies, and how many bytes from there on lie in one; none behind its end.
struct map_run map_find(const struct map *map, uint64_t offset);

// A volume's bytes, through those of its disk.
struct mapped {
  const struct map *map;
  const struct disk_input *disk;
};
struct disk_input map_input(struct mapped *mapped);
