// The names under which namespaces are kept: files in a private tmpfs, each covered by a namespace.
#pragma once
#include "policy/prepared.h"

// The directory of pins, as the tmpfs that is mounted there. With `make` it is mounted if it is not; otherwise -1 without a reason.
int pins_open(int run, bool make, struct failure *why) MUST_USE;
// Lets go of the pins of a job and user, but for those named in `kept`.
void pins_sweep(int pins, const char *job, const char *uid, const struct words *kept);
// Lets go of every pin whose job and user have no directory any more: whoever made it was killed.
void pins_sweep_lost(int run, int pins);
void pin_drop(int pins, const char *name);
// Before: `process` is a child of ours that waits. After: its mount namespace lives on under the name, until pin_drop.
bool pin_make(int pins, const char *name, int process, struct buffer *space, struct failure *why) MUST_USE;
// Unmounts the tmpfs if no pin is left, nor anyone at work there.
void pins_close(int run, int *pins);
