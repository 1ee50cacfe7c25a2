// The rest of the system, from where its fstab says it is.
#pragma once
#include "disk/candidates.h"

// Mounts below the root what its fstab names, among this disk's own file systems alone.
bool merge_fstab(struct volumes *volumes, const struct candidate *root, struct failure *why) MUST_USE;
// Tells that a volume's journal was replayed, once.
void tell_replayed(struct volume *volume);
