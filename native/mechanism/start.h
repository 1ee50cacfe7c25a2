// The last steps, as the user and inside the root.
#pragma once
#include "mechanism/process.h"
#include "policy/arguments.h"
#include "policy/config.h"
#include "policy/image_facts.h"

struct start {
  const struct arguments *arguments;
  const struct config *config;
  const struct image_facts *facts;
  const struct inherited *inherited;
  char *const *environment;
  const char *request, *image;
  const struct words *argv;
};

// Returns only when the program could not be started. Before: every right was given up.
void start_program(const struct start *start, struct failure *why);
