// Volume maps: from:to[:flag...][;...]. A site's: `to` may be left out, flags ro, rec, slave, private, perNodeCache. A user's: flags ro
// and perNodeCache, and no target that the runtime or the site fills.
#pragma once
#include "policy/failure.h"

enum volume_flag { VOLUME_READ_ONLY = 1, VOLUME_RECURSIVE = 2, VOLUME_SLAVE = 4, VOLUME_PRIVATE = 8, VOLUME_CACHE = 16 };

struct volume {
  char *from, *to; // clean
  unsigned flags;
  uint64_t cache_size, cache_block; // of VOLUME_CACHE, whose `from` means nothing
};

struct volume_map {
  struct volume *items;
  size_t count, room;
};

// Both add the elements of `text`; what went wrong is the last part of a sentence in `what`.
bool volume_map_add_site(struct volume_map *map, const char *text, struct buffer *what) MUST_USE;
bool volume_map_add_user(struct volume_map *map, const char *text, struct buffer *what) MUST_USE;
// Whether no volume of a user lies at, above or below a target of the site's.
bool volume_map_spares(const struct volume_map *user, const struct volume_map *site, struct buffer *what) MUST_USE;
// Puts them in the order in which they are mounted, which depends on their targets alone: what lies above first, equal ones once. Two
// different ones on one target are refused.
bool volume_map_settle(struct volume_map *map, struct buffer *what) MUST_USE;
// Where no user's volume may land: at or below these, but for what volume_map_add_user takes back. Ended by NULL.
extern const char *const volume_kept_places[];
// Sorted "from:to:flags" joined by ";": equal for maps that mean the same, and a map itself.
void volume_map_signature(const struct volume_map *map, struct buffer *out);
void volume_text(const struct volume *volume, struct buffer *out);
// Whether some volume's target is `path` or a directory above it.
bool volume_map_covers(const struct volume_map *map, const char *path);
void volume_map_free(struct volume_map *map);
