// What the plugin has other programs do, as the user who submits: no shell, and nothing of it has a right that he has not.
#pragma once
#include "policy/failure.h"

// The id of an image that the user may use, as `shifter --resolve` tells it.
bool ask_resolve(const char *image, char **id, struct failure *why) MUST_USE;
// Has an image pulled by shifterimg, whose progress is shown. Ends it when a signal asks this process to end, and after so many seconds
// (0: never).
bool ask_pull(const char *program, const char *image, uint64_t seconds, struct failure *why) MUST_USE;
