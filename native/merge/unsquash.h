// A foreign squashfs as a tar stream, which shifter-merge reads like any layer: the filter policy is its business. What neither tar nor a
// layer can say is refused; nothing is left out in silence.
#pragma once
#include "merge/squashfs.h"
#include "merge/writer.h"

struct unsquash_limits {
  uint64_t bytes, ratio;     // of the stream: in all, and times the size of the image (small ones are let pass)
  uint64_t entries;          // names
  size_t depth, name_bytes;  // of a name: components, and bytes
};

// `key` makes the numbers of inodes no help to who wants a table to be slow. The image is a regular file's; its position is not used.
bool unsquash(int fd, uint64_t size, const struct unsquash_limits *limits, uint64_t key, struct writer_output output, struct failure *why) MUST_USE;
