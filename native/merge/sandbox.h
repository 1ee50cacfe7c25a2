// What the merger can still do once it reads what strangers wrote: compute, read and write what is open already, take descriptors from the
// opener, end. Anything else ends it at once.
#pragma once
#include "policy/failure.h"

bool sandbox_enter(struct failure *why) MUST_USE;
// And these calls, at most 16.
bool sandbox_enter_with(const int *further, size_t count, struct failure *why) MUST_USE;
