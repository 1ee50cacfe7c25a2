// The command line of shifter-check.
#pragma once
#include "policy/options.h"

struct check_arguments {
  enum mode mode; // MODE_RUN, MODE_HELP, MODE_VERSION
  bool json;
  const char *default_type, *batch;
  char *volumes;       // every --volume, joined by ';', or NULL
  const char *modules; // --module, or NULL
};
