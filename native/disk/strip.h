// What an image leaves out of a virtual machine: what is of the machine, not of the system on it, and its secrets. The table is here and nowhere else.
#pragma once
#include <sys/types.h>

#include "policy/base.h"

enum strip {
  STRIP_NOTHING,
  STRIP_ENTRY,    // it, with all below
  STRIP_CONTENTS, // what is below; the directory stays
  STRIP_FILES,    // what is below, but for directories
};

struct strip_rule {
  const char *pattern; // relative to the root; * and ? match within one component
  enum strip strip;
};

extern const struct strip_rule strip_rules[];
extern const size_t strip_rule_count;

// The rule by which a path is left out, or -1. Paths are relative to the root, without dots.
int strip_match(const char *path, mode_t mode) MUST_USE;
