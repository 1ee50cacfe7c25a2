// What a user asks of a site: which of its modules are active, and his volumes beside what they and the site mount.
#pragma once
#include "policy/config.h"

struct modules {
  const struct module **items; // in the order in which they take effect
  size_t count;
};

// `asked`: names separated by commas, "none", or NULL for the site's defaults. Unknown, disabled, repeated and conflicting names are
// refused.
bool modules_select(const struct config *config, const char *asked, struct modules *modules, struct failure *why) MUST_USE;
// `asked`: a user's volume map, or NULL; settled, and at no place of the site's or of a module that is active.
bool volumes_select(const struct config *config, const struct modules *modules, const char *asked, struct volume_map *volumes, struct failure *why) MUST_USE;
// Whether the site makes per-node caches, of these sizes together.
bool caches_allowed(const struct config *config, const struct volume_map *volumes, struct failure *why) MUST_USE;
void modules_free(struct modules *modules);
