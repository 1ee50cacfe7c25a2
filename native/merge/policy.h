// What of a layer an image keeps: the filter policy, whose version (formats/limits.json) is part of every image id and rises with each change.
// Owners are root everywhere. Device nodes and FIFOs are left out: /dev is the node's. setuid and setgid bits are cleared, and no extended
// attribute is kept but `user.*`: no capabilities, no labels or access lists of another system, no `overlay` marks of a stranger's.
#pragma once
#include "merge/tar.h"

uint32_t kept_mode(uint32_t mode);
int64_t kept_time(int64_t mtime); // the nearest that an image can hold: whole seconds from 1970 to 2106
bool is_kept(enum tar_type type);
bool is_kept_attribute(const struct tar_attribute *attribute);
