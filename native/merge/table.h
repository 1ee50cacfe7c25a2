// Tables whose keys come from strangers: the hash is keyed, so that nobody can make names collide. And memory that is freed at once.
#pragma once
#include "policy/base.h"

// Pieces of memory that live as long as the arena.
struct arena {
  struct arena_block *newest;
  size_t used, room;
};
void *arena_get(struct arena *arena, size_t size) MUST_USE; // zeroed, aligned
char *arena_copy(struct arena *arena, const char *at, size_t length) MUST_USE;
void arena_free(struct arena *arena);

uint64_t keyed_hash(uint64_t key, const char *at, size_t length);

// From bytes to a pointer. Keys are not copied: they must outlive the table.
struct table {
  struct table_slot *slots;
  size_t count, room;
  uint64_t key;
};
void **table_find(const struct table *table, const char *at, size_t length); // NULL when it is not there
void **table_put(struct table *table, const char *at, size_t length);        // a new one holds NULL
void table_free(struct table *table);
