// A tree that was put in a tar archive. Whoever gives it may read what is in it, so permissions say nothing here.
#pragma once
#include "merge/tar.h"
#include "tree/stream.h"

bool archive_read(struct tar_input input, const struct stream_limits *limits, struct stream *stream, struct failure *why) MUST_USE;
