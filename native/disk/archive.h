// The guest's first file system: a cpio archive, as the kernel takes it.
// https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
#pragma once
#include <sys/types.h>

#include "policy/base.h"

void archive_add(struct buffer *archive, const char *name, mode_t mode, const void *at, size_t length);
void archive_end(struct buffer *archive);
