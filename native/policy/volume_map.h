// Site volume maps: from[:to][:flag...][;...], flags ro, rec, slave, private.
#pragma once
#include "policy/failure.h"

enum volume_flag { VOLUME_READ_ONLY = 1, VOLUME_RECURSIVE = 2, VOLUME_SLAVE = 4, VOLUME_PRIVATE = 8 };

struct volume {
  char *from, *to; // clean
  unsigned flags;
};

struct volume_map {
  struct volume *items;
  size_t count, room;
};

// Adds the elements of `text`; what went wrong is the last part of a sentence in `what`.
bool volume_map_add_site(struct volume_map *map, const char *text, struct buffer *what) MUST_USE;
// Sorted "from:to:flags" joined by ";": equal for maps that mean the same.
void volume_map_signature(const struct volume_map *map, struct buffer *out);
void volume_text(const struct volume *volume, struct buffer *out);
// Whether some volume's target is `path` or a directory above it.
bool volume_map_covers(const struct volume_map *map, const char *path);
void volume_map_free(struct volume_map *map);
