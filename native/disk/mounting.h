// Mounting a volume's file system, read-only; what its journal still holds is replayed on a copy first.
#pragma once
#include "disk/volumes.h"

// `subvolume` is NULL for the default one of a btrfs, and for everything else. `*replayed` says whether the copy was needed.
bool volume_mount(struct volumes *volumes, struct volume *volume, const char *subvolume, const char *directory, bool *replayed, struct failure *why) MUST_USE;
