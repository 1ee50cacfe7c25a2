// What a node needs for the mode without setuid. Each says what it found, or what is missing and what to do.
#pragma once
#include "policy/base.h"

bool squashfuse_found(struct buffer *detail);
bool fuse_is_open(struct buffer *detail);
bool namespaces_work(struct buffer *detail);
