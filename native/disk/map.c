#include "disk/map.h"

#include <stdlib.h>

void map_add(struct map *map, uint64_t length, uint64_t stripe_size, const uint64_t *stripes, size_t stripe_count) {
  uint64_t start = map_size(map) / SECTOR;
  map->items = memory_grow(map->items, &map->room, map->count + 1, sizeof *map->items);
  struct map_piece *piece = &map->items[map->count++];
  *piece = (struct map_piece){start, length, stripe_size, memory_get(stripe_count, sizeof *stripes), stripe_count};
  memcpy(piece->stripes, stripes, stripe_count * sizeof *stripes);
}

uint64_t map_size(const struct map *map) {
  if (map->count == 0) return 0;
  const struct map_piece *last = &map->items[map->count - 1];
  return (last->start + last->length) * SECTOR;
}

void map_free(struct map *map) {
  for (size_t i = 0; i < map->count; i++) free(map->items[i].stripes);
  free(map->items);
  *map = (struct map){0};
}

static struct map_run find_in(const struct map_piece *piece, uint64_t offset) {
  uint64_t chunk = piece->stripe_size * SECTOR;
  if (piece->stripe_count == 1) return (struct map_run){piece->stripes[0] * SECTOR + offset, piece->length * SECTOR - offset};
  uint64_t which = offset / chunk, within = offset % chunk;
  return (struct map_run){piece->stripes[which % piece->stripe_count] * SECTOR + which / piece->stripe_count * chunk + within, chunk - within};
}

struct map_run map_find(const struct map *map, uint64_t offset) {
  size_t low = 0, high = map->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const struct map_piece *piece = &map->items[middle];
    if (offset < piece->start * SECTOR) high = middle;
    else if (offset >= (piece->start + piece->length) * SECTOR) low = middle + 1;
    else return find_in(piece, offset - piece->start * SECTOR);
  }
  return (struct map_run){0, 0};
}

static bool read_mapped(void *from, uint64_t offset, void *into, size_t length) {
  const struct mapped *mapped = from;
  for (char *at = into; length > 0;) {
    struct map_run run = map_find(mapped->map, offset);
    size_t n = run.length < length ? (size_t)run.length : length;
    if (n == 0 || !disk_read(mapped->disk, run.place, at, n)) return false;
    at += n;
    offset += n;
    length -= n;
  }
  return true;
}

struct disk_input map_input(struct mapped *mapped) {
  return (struct disk_input){read_mapped, mapped, map_size(mapped->map)};
}
