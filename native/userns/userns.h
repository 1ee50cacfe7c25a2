// Running without any right of the system: the caller's own, in user namespaces of his.
//
// Two namespaces, one inside the other. The outer one maps the caller to root, so that an image's files, which are root's, are his and the
// overlay can copy them up; everything is mounted there. The inner one maps him back to himself, one to one, and has no rights over the
// mounts; the program runs in it.
#pragma once
#include "mechanism/plan.h"

// What the caller's environment says, noted once: where his own things are, and where squashfuse is looked for.
void surroundings_note(char *const *environment);
// NULL: there is none.
const char *surroundings(const char *name);
char *const *surroundings_all(void);

// A namespace in which `inside` is mapped to `outside` of the one around it.
bool userns_enter(const struct identity *inside, const struct identity *outside, struct failure *why) MUST_USE;

// Starts the process that will serve the image: it is nobody's child, in the caller's own mounts, and waits to be told.
bool server_prepare(const struct root_plan *plan, struct failure *why) MUST_USE;
// The mount it serves; -1 and *why.
int server_mount(struct failure *why) MUST_USE;
