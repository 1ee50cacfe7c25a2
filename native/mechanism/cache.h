// Per-node caches: a file system of the job's own on the node's disk, which ends with the root.
#pragma once
#include "mechanism/plan.h"

// A detached mount of a new, empty file system that belongs to plan->who; -1 and *why.
int cache_make(const struct root_plan *plan, const struct volume *volume, struct failure *why) MUST_USE;
