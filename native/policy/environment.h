// The environment is data for the program that is run, and never steers this one. Composing it: payload/compose.h.
#pragma once
#include "policy/failure.h"

// NAME=VALUE, both not empty: what --env, --env-file and site settings may say.
bool setting_is_complete(const char *setting);
// The value of NAME, or NULL.
const char *environment_value(char *const *environment, const char *name);
