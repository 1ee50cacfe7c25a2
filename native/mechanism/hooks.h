// The one place that runs a child with root's rights.
#pragma once
#include "policy/image_facts.h"

struct site_program {
  const char *setting;           // of udiRoot.conf, for messages
  const char *path;              // a file that only root can change, also by changing what is above it
  const char *const *arguments;  // after its name, ended by NULL; none holds a user's string
  int directory;                 // where it starts, or -1: /
  int descriptor;                // becomes its descriptor 3, or -1
  const struct identity *account; // who it runs as, or NULL: root
};

// Before: ids all root. After: the program has ended with status 0, or *why says how it failed.
bool run_site_program(const struct site_program *program, struct failure *why) MUST_USE;
