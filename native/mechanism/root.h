// Building the root and entering it.
#pragma once
#include "mechanism/etc_files.h"
#include "mechanism/image.h"

struct root_plan {
  const struct config *config;
  const struct identity *who;
  const struct image *image;
  const struct etc_files *etc;
  const char *home;
};

// After it, the process lives in a mount namespace of its own whose root is the image; nothing of it is seen by any other process, and
// it ends with the last process inside. On failure nothing is left either.
bool root_enter(const struct root_plan *plan, struct failure *why) MUST_USE;
