// Reads a packed image back. It is this machine's own packer's work, but what the packer read was a stranger's and what the disk gave back
// may be damaged, so no field is trusted: whatever can't be right is a fault.
// https://dr-emann.github.io/squashfs/
#pragma once
#include "merge/contents.h"

// Counts every name of the image, with the content that the sample asks for. The descriptor is a regular file's; its position is not used.
bool image_read(int fd, uint64_t size, struct contents *contents, uint64_t *inodes, struct failure *why) MUST_USE;
