// Giving up every right for good.
#pragma once
#include "policy/image_facts.h"

// Becomes `who` with no capability, an empty bounding set and no_new_privs, and reads all of it back.
bool drop_privileges(const struct identity *who, struct failure *why) MUST_USE;
// For messages: becomes `who` without the rest. Whoever opened the descriptor we write to, root does not write there.
bool drop_ids(const struct identity *who) MUST_USE;

// All but the ids, which `become` (where there is one) takes between.
bool drop_capabilities(const struct identity *who, bool (*become)(const struct identity *, struct failure *), struct failure *why) MUST_USE;
bool drop_failed(const char *step, struct failure *why);
