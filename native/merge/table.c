#include "merge/table.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_ROOM ((size_t)1 << 18)

struct arena_block {
  struct arena_block *older;
  _Alignas(16) char at[];
};

void *arena_get(struct arena *arena, size_t size) {
  size = (size + 15) & ~(size_t)15;
  if (arena->newest == NULL || arena->room - arena->used < size) {
    size_t room = size > BLOCK_ROOM ? size : BLOCK_ROOM;
    struct arena_block *block = memory_get(1, sizeof *block + room);
    block->older = arena->newest;
    *arena = (struct arena){.newest = block, .room = room};
  }
  void *at = arena->newest->at + arena->used;
  arena->used += size;
  return at;
}

char *arena_copy(struct arena *arena, const char *at, size_t length) {
  char *copy = arena_get(arena, length + 1);
  if (length > 0) memcpy(copy, at, length);
  return copy;
}

void arena_free(struct arena *arena) {
  while (arena->newest != NULL) {
    struct arena_block *block = arena->newest;
    arena->newest = block->older;
    free(block);
  }
  *arena = (struct arena){0};
}

// Eight bytes at a time through a multiplication whose halves are folded, as wyhash does.
uint64_t keyed_hash(uint64_t key, const char *at, size_t length) {
  uint64_t hash = key ^ (uint64_t)length * UINT64_C(0x9e3779b97f4a7c15);
  while (length > 0) {
    uint64_t word = 0;
    size_t taken = length < sizeof word ? length : sizeof word;
    memcpy(&word, at, taken);
    __uint128_t product = (__uint128_t)(hash ^ word) * (key | 1) + UINT64_C(0xa0761d6478bd642f);
    hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    at += taken;
    length -= taken;
  }
  __uint128_t last = (__uint128_t)(hash ^ UINT64_C(0xe7037ed1a0b428db)) * UINT64_C(0x8ebc6af09c88c6e3);
  return (uint64_t)last ^ (uint64_t)(last >> 64);
}

struct table_slot {
  const char *at;
  size_t length;
  uint64_t hash;
  void *value;
};

static struct table_slot *slot_of(const struct table *table, const char *at, size_t length, uint64_t hash) {
  for (size_t i = hash & (table->room - 1);; i = (i + 1) & (table->room - 1)) {
    struct table_slot *slot = &table->slots[i];
    if (slot->at == NULL || (slot->hash == hash && slot->length == length && memcmp(slot->at, at, length) == 0)) return slot;
  }
}

void **table_find(const struct table *table, const char *at, size_t length) {
  if (table->room == 0) return NULL;
  struct table_slot *slot = slot_of(table, at, length, keyed_hash(table->key, at, length));
  return slot->at == NULL ? NULL : &slot->value;
}

void **table_put(struct table *table, const char *at, size_t length) {
  if (table->count * 2 >= table->room) {
    struct table larger = {.key = table->key, .room = table->room == 0 ? 64 : table->room * 2, .count = table->count};
    larger.slots = memory_get(larger.room, sizeof *larger.slots);
    for (size_t i = 0; i < table->room; i++) {
      const struct table_slot *old = &table->slots[i];
      if (old->at != NULL) *slot_of(&larger, old->at, old->length, old->hash) = *old;
    }
    free(table->slots);
    *table = larger;
  }
  uint64_t hash = keyed_hash(table->key, at, length);
  struct table_slot *slot = slot_of(table, at, length, hash);
  if (slot->at == NULL) {
    *slot = (struct table_slot){at, length, hash, NULL};
    table->count++;
  }
  return &slot->value;
}

void table_free(struct table *table) {
  free(table->slots);
  *table = (struct table){.key = table->key};
}
