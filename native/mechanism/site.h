// The site's configuration on disk.
#pragma once
#include "policy/config.h"

// udiRoot.conf and, where there is one, runtime.conf of a directory, checked for who could have changed them.
bool site_load(const char *directory, struct config *config, struct failure *why) MUST_USE;
