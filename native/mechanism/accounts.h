// The caller's account, the names of his groups, and accounts the site imports.
#pragma once
#include "policy/account.h"
#include "policy/config.h"

bool accounts_look_up(const struct config *config, const struct identity *who, struct accounts *out, struct failure *why) MUST_USE;
