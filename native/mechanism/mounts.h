// Mounts by descriptor. Nothing here parses an option string or looks a path up twice.
#pragma once
#include <sys/mount.h>

#include "policy/failure.h"

struct mount_option {
  const char *key, *value; // value NULL: a flag
};

// A new detached mount with the given MOUNT_ATTR_* flags; -1 and *why.
int mount_create(const char *type, const struct mount_option *options, size_t count, unsigned attributes, struct failure *why) MUST_USE;
// A detached copy of what is mounted at path (or at the descriptor itself, path ""); -1 with errno.
int tree_clone(int directory, const char *path, bool recursive) MUST_USE;
// Sets MOUNT_ATTR_* flags and the propagation (0: as it is) of a mount and, if asked, of all below it.
bool tree_set(int tree, uint64_t attributes, uint64_t propagation, bool recursive) MUST_USE;
bool tree_unset(int tree, uint64_t attributes, bool recursive) MUST_USE;
bool tree_attach(int tree, int target) MUST_USE;
// Wording for the calls that set errno.
bool mount_failed(const char *step, struct failure *why);
