// The caller's account, the names of his groups, and accounts the site imports.
#pragma once
#include "policy/account.h"
#include "policy/config.h"

// `user`: NULL where the groups of `who` are known; otherwise the account's name, or "" for that of the uid, and out->memberships are the
// groups it is in.
bool accounts_look_up(const struct config *config, const struct identity *who, const char *user, struct accounts *out,
                      struct failure *why) MUST_USE;
