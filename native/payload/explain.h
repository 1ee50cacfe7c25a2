// shifter --explain: what would be run, and where each part of it comes from.
#pragma once
#include "payload/compose.h"
#include "payload/start.h"

// One line each: KIND, VALUE and ORIGIN, separated by tabs, control characters as \xHH. Runs nothing.
_Noreturn void explain_and_exit(const struct start *start, const struct composition *environment);
