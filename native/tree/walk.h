// Reading a tree that others may change meanwhile, and that may be meant to lead out of itself: each name is opened below its directory, by
// no link and on no other file system, and what was opened is what is read. What not everyone may read is not for an image that everyone is given.
#pragma once
#include "tree/stream.h"

struct walk_limits {
  uint64_t directory_entries;
  size_t depth;
};

// The root; -1 with TREE_UNSAFE where others could have put it there, or not everyone may read it.
int walk_open(const char *root, const struct walk_limits *limits, struct failure *why) MUST_USE;
// All that is in it. `key` makes the numbers of inodes no help to who wants a table to be slow.
bool walk_tree(int root, const struct walk_limits *limits, uint64_t key, struct stream *stream, struct failure *why) MUST_USE;
