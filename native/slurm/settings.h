// The words behind the plugin's name in plugstack.conf.
#pragma once
#include "policy/failure.h"

struct settings {
  bool long_options;      // --shifter.image and so on, where the short names are another plugin's
  bool inside;            // every task of a step runs inside the job's image
  const char *shifterimg; // the program of --image-pull; a plain name is looked for in the user's PATH
};

// Words of the reference system are known: what it offers and this does not is refused with a reason, unless it is switched off.
bool settings_parse(int count, char *const *words, struct settings *out, struct failure *why) MUST_USE;
