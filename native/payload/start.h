// The last steps, as the user and inside the root.
#pragma once
#include "mechanism/plan.h"
#include "mechanism/process.h"
#include "policy/arguments.h"

struct start {
  const struct arguments *arguments;
  const struct root_plan *plan;
  const struct inherited *inherited;
  char *const *environment; // the caller's
  struct words argv;        // found by start_program
};

// Returns only when the program could not be started. Before: every right was given up.
void start_program(struct start *start, struct failure *why);
