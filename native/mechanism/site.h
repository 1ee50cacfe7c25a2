// The site's configuration on disk.
#pragma once
#include <sys/stat.h>

#include "policy/config.h"

// udiRoot.conf and, where there is one, runtime.conf of a directory, checked for who could have changed them.
bool site_load(const char *directory, struct config *config, struct failure *why) MUST_USE;
// What a setting names and this project runs (S_IFREG) or shows (S_IFDIR): root's, below directories that nobody else can change.
bool site_open(const char *setting, const char *path, mode_t type, int *fd, struct failure *why) MUST_USE;
// A file of etcPath, which is open.
bool site_read_etc(int directory, const char *path, const char *name, struct buffer *content, struct failure *why) MUST_USE;
// Whether starts read accounts from the files of etcPath.
bool site_uses_etc(const struct config *config);
// All that the settings name, also what a start does not use and so does not look at. Each thing wrong is a line of `wrong`, and `why` one
// of them.
bool site_check(const struct config *config, struct words *wrong, struct failure *why) MUST_USE;
