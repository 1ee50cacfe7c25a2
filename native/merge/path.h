// Names of layer entries: made relative and clean, or refused. What can't be right is refused, never repaired.
// https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md
#pragma once
#include "merge/tar.h"

struct path_limits {
  size_t depth, bytes;
  uint64_t names; // of all entries, directories that are only implied among them
};

// Components joined by single slashes; none of them empty, `.` or `..`. No components: the root itself.
struct path {
  struct buffer text;
  size_t *ends; // where each component ends in `text`
  size_t count, room;
};
void path_free(struct path *path);

// Refused: absolute names but `/`, `..`, components over 255 bytes, and what is over the limits. The fault names the entry; with a
// target, `name` is the target and `what` says so.
bool path_read(struct path *path, const char *name, size_t length, const struct path_limits *limits, const struct tar_entry *entry,
  const char *what, struct failure *why) MUST_USE;
bool too_many_names(struct failure *why, const struct tar_entry *entry, const struct path_limits *limits); // always false
void path_set(struct path *path, const char *clean, size_t length); // a path read before
void path_cut(struct path *path, size_t count);                     // keeps so many components
void path_add(struct path *path, const char *component, size_t length);
static inline const char *path_component(const struct path *path, size_t i, size_t *length) {
  size_t start = i == 0 ? 0 : path->ends[i - 1] + 1;
  *length = path->ends[i] - start;
  return path->text.at + start;
}

// What a name says by the whiteout convention.
enum whiteout {
  WHITEOUT_NONE,
  WHITEOUT_FILE,     // the sibling named without the prefix is removed from lower layers
  WHITEOUT_OPAQUE,   // everything in the entry's directory is
  WHITEOUT_METADATA, // bookkeeping of AUFS (`.wh..wh.plnk`, `.wh..wh.aufs`): no part of the image
};
bool path_whiteout(const struct path *path, enum whiteout *whiteout, struct failure *why) MUST_USE;
#define WHITEOUT_PREFIX ".wh."
#define WHITEOUT_PREFIX_LENGTH 4
