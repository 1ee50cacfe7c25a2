// Composing the environment of the program: as the user, after every right was given up.
#pragma once
#include "policy/module.h"

// Index of the entry with the name of `setting` (up to its '='), or -1.
ptrdiff_t environment_find(const struct words *environment, const char *setting);
// Entries that are variables; of a name that is there twice the first, as getenv would find.
void environment_import(struct words *environment, char *const *from);
void environment_put(struct words *environment, const char *setting);
void environment_append(struct words *environment, const char *setting);
void environment_prepend(struct words *environment, const char *setting);
void environment_unset(struct words *environment, const char *name);
// The settings of an --env-file: blank lines and # lines are skipped, outer blanks trimmed.
bool environment_parse_file(struct words *settings, const char *at, size_t length, const char *name, struct failure *why) MUST_USE;

struct environment_sources {
  char *const *caller;         // NULL with --clearenv
  const char *request, *image; // SHIFTER_IMAGEREQUEST, SHIFTER_IMAGE
  const struct words *image_env, *file, *options;
  const struct modules *modules;  // or NULL
  const struct conf_value *site;  // udiRoot.conf's values, or NULL
};

// One list of settings, where it comes from and what it does.
struct step {
  const char *key; // of udiRoot.conf, or in words
  const struct module *module; // whose key it is, or NULL
  unsigned line;               // of udiRoot.conf
  void (*change)(struct words *environment, const char *setting);
  const struct words *settings;
};

struct composition {
  struct words caller, runtime;
  struct step *steps;
  size_t count;
};
void composition_make(struct composition *made, const struct environment_sources *from);
void composition_apply(const struct composition *made, struct words *environment);
// Where the variable of `setting` comes from, in words.
void composition_origin(const struct composition *made, const char *setting, struct buffer *out);
void composition_free(struct composition *made);
