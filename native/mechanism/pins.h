// The names under which namespaces are kept: files in a private tmpfs, each covered by a namespace. There is one such tmpfs; only when a
// process is killed or stopped while it mounts one, others take the next place.
#pragma once
#include "policy/prepared.h"

#define PIN_PLACES 8
struct pins {
  int fds[PIN_PLACES]; // -1 where no tmpfs is mounted
};

void pins_open(int run, struct pins *pins);
void pins_close(int run, struct pins *pins); // unmounts what holds no pin, if nobody is at work there
// A place for a new pin, mounted if need be: its number, or -1.
int pins_place(int run, struct pins *pins, struct failure *why) MUST_USE;
// Lets go of the pins of a job and user (NULL: of every user), but for those in `kept`.
void pins_sweep(const struct pins *pins, const char *job, const char *uid, const struct words *kept);
// Lets go of every pin whose job and user have no directory any more: whoever made it was killed.
void pins_sweep_lost(const struct pins *pins, int run);
// Before: `process` is a child of ours that waits. After: its mount namespace lives on under the name, until pin_drop. *order: the kernel
// takes that namespace for an older one than ours.
bool pin_make(int place, const char *name, int process, struct buffer *space, bool *order, struct failure *why) MUST_USE;
void pin_drop(int place, const char *name);
