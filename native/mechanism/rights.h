// What the setuid program and the one without setuid do each in its own way: mechanism/rights.c, identity.c, drop.c, cache.c,
// hooks.c and prepared.c are linked into the one, userns/ in their place into the other. Everything else is the same code.
#pragma once
#include "mechanism/plan.h"

// Which of them this is.
extern const bool without_setuid;

// Before: nothing was changed, no descriptor of ours is open. After: this program may go on; or another one runs instead.
bool rights_check(char *const *argv, char *const *environment, struct failure *why) MUST_USE;
// The configuration that counts.
bool rights_configuration(struct config *config, struct failure *why) MUST_USE;
// Finds and opens an image that was published, by image_search.
bool rights_open_published(const struct config *config, const struct image_reference *reference, const char *request, const struct identity *who,
                           struct image *image, struct failure *why) MUST_USE;
// A mount namespace of its own.
bool namespace_enter(const struct root_plan *plan, struct failure *why) MUST_USE;
// The directory of the host that the private tmpfs covers; -1 and *why.
int scratch_place(const struct config *config, struct failure *why) MUST_USE;
// Before: namespace_enter; plan->image was opened and checked. After: a detached mount of it, read-only; -1 and *why.
int layer_mount(const struct root_plan *plan, struct failure *why) MUST_USE;
// A directory that udiRoot.conf names, to be shown inside.
bool opt_open(const char *setting, const char *path, int *fd, struct failure *why) MUST_USE;
