// The merged tree as a tar archive.
#pragma once
#include "policy/failure.h"

struct walk_summary {
  uint64_t bytes, entries;
  uint64_t *stripped; // by rule, so many as there are
};

bool walk_tree(const char *root, int output, uint64_t most_entries, uint64_t most_bytes, struct walk_summary *summary, struct failure *why) MUST_USE;
