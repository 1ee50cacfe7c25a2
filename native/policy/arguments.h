// The command line of `shifter`. Parsing stops at the first word that is no option.
#pragma once
#include "policy/options.h"

struct arguments {
  enum mode mode;                 // MODE_RUN, MODE_RESOLVE, MODE_HELP, MODE_VERSION
  bool verbose, clear_environment, writable, explain;
  int report;                     // --report-fd, or -1: where a refusal is told instead of standard error
  const char *image;              // --image or --resolve
  char *volumes;                  // every --volume, joined by ';', or NULL
  const char *modules;            // --module, or NULL
  struct words env, env_files;
  bool use_workdir;               // --workdir was given
  const char *workdir;            // NULL: the image's
  bool use_entrypoint;
  const char *entrypoint;         // NULL: the image's
  char *const *command;           // what is left, ended by NULL
};

#define ENTRYPOINT_OF_IMAGE "image" // what SHIFTER_ENTRYPOINT says where it is the image's own

option_taker take_setting; // struct words: one more NAME=VALUE
bool arguments_parse(int argc, char *const *argv, struct arguments *out, struct failure *why) MUST_USE;
// The image from --image or, without it, from the SHIFTER_* variables of the caller: TYPE:REFERENCE as asked for.
bool arguments_image(const struct arguments *arguments, char *const *environment, char **request, struct failure *why) MUST_USE;
// What the workload manager was asked for, where the caller's variables name the image that it means; or NULL.
const char *arguments_request(const struct arguments *arguments, char *const *environment);
// The user's volume map and modules, from the option or else from the environment; NULL for none asked for.
const char *arguments_volumes(const struct arguments *arguments, char *const *environment);
const char *arguments_modules(const struct arguments *arguments, char *const *environment);
void arguments_free(struct arguments *arguments);
