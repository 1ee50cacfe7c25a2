// What the guest's kernel can still do on the host: trace its own processes, compute, read and write what it was shown.
#pragma once
#include "policy/failure.h"

// Takes every right and most system calls away, for good; limits files, processor time, and memory, which is the guest's in MiB.
bool confine(uint64_t memory, uint64_t file_most, uint64_t seconds, struct failure *why) MUST_USE;
