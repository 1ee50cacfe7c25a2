// Building the root and entering it.
#pragma once
#include "mechanism/plan.h"

// After it, the process lives in a mount namespace of its own whose root is the image; nothing of it is seen by any other process, and
// it ends with the last process inside. On failure nothing is left either.
bool root_enter(const struct root_plan *plan, struct failure *why) MUST_USE;
