// The environment is data for the program that is run, and never steers this one.
#pragma once
#include "policy/failure.h"

// NAME=VALUE, both not empty: what --env, --env-file and site settings may say.
bool setting_is_complete(const char *setting);
// Index of the entry with the name of `setting` (up to its '='), or -1.
ptrdiff_t environment_find(const struct words *environment, const char *setting);
// The value of NAME, or NULL.
const char *environment_value(char *const *environment, const char *name);
// Entries that are variables; of a name that is there twice the first, as getenv would find.
void environment_import(struct words *environment, char *const *from);
void environment_put(struct words *environment, const char *setting);
void environment_append(struct words *environment, const char *setting);
void environment_prepend(struct words *environment, const char *setting);
void environment_unset(struct words *environment, const char *name);
// The settings of an --env-file: blank lines and # lines are skipped, outer blanks trimmed.
bool environment_parse_file(struct words *settings, const char *at, size_t length, const char *name, struct failure *why) MUST_USE;

struct environment_sources {
  char *const *caller;        // NULL with --clearenv
  const char *request, *image; // SHIFTER_IMAGEREQUEST, SHIFTER_IMAGE
  const struct words *image_env, *file, *options;
  const struct words *site_set, *site_append, *site_prepend, *site_unset;
};
void environment_compose(struct words *environment, const struct environment_sources *from);
