// The site's configuration on disk.
#pragma once
#include <sys/stat.h>

#include "policy/config.h"

// udiRoot.conf and, where there is one, runtime.conf of a directory, checked for who could have changed them.
bool site_load(const char *directory, struct config *config, struct failure *why) MUST_USE;
// What a setting names and this project runs (S_IFREG) or shows (S_IFDIR): root's, below directories that nobody else can change.
bool site_open(const char *setting, const char *path, mode_t type, int *fd, struct failure *why) MUST_USE;
// What a start that does not use it does not look at: each thing wrong with what the settings name, in words.
void site_check(const struct config *config, struct words *wrong);
