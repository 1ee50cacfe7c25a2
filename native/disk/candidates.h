// The file systems that may be the system's root.
#pragma once
#include "disk/volumes.h"

struct candidate {
  struct volume *volume;
  char *subvolume; // NULL for the default one
};

// Tells each that there is, and chooses: the only one, or what `name` names. Nothing stays mounted.
bool candidate_choose(struct volumes *volumes, const char *name, struct candidate *chosen, struct failure *why) MUST_USE;
// As candidates are listed: 2, VG/LV, 2@subvolume.
void candidate_name(const struct candidate *candidate, struct buffer *name);
