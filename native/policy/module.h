// Modules of a site: which of them are active.
#pragma once
#include "policy/config.h"

struct modules {
  const struct module **items; // in the order in which they take effect
  size_t count;
};

// `asked`: names separated by commas, "none", or NULL for the site's defaults. Unknown, disabled, repeated and conflicting names are
// refused.
bool modules_select(const struct config *config, const char *asked, struct modules *modules, struct failure *why) MUST_USE;
void modules_free(struct modules *modules);
