// The first 96 bytes of a squashfs file, looked at before the kernel is given the file.
#pragma once
#include "policy/failure.h"

#define SUPERBLOCK_BYTES 96
bool superblock_check(const unsigned char block[static SUPERBLOCK_BYTES], uint64_t file_size, struct failure *why) MUST_USE;
