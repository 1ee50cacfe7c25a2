// The command lines of setupRoot and unsetupRoot.
#pragma once
#include "policy/options.h"
#include "policy/prepared.h"

struct setup_arguments {
  enum mode mode;            // MODE_RUN, MODE_RESOLVE, MODE_HELP, MODE_VERSION
  bool verbose;
  int report;                // --report-fd, or -1
  uint32_t uid, gid;         // neither is 0, unless help or the version is asked for
  const char *user;          // NULL where it was left out
  const char *job;           // NODE_JOB without --job
  char *volumes;             // every --volume, joined by ';', or NULL
  const char *modules;       // or NULL
  struct buffer hostsfile;   // the lines of --nodes; `at` is NULL without it
  const char *run_directory; // NULL: the configured one
  const char *image;         // of --resolve
  const char *type, *id;     // the operands of MODE_RUN
};

struct unsetup_arguments {
  enum mode mode;            // MODE_RUN, MODE_LIST, MODE_HELP, MODE_VERSION
  int report;
  bool has_job, has_uid;     // --list without them lists everything
  const char *job;           // NODE_JOB without --job
  uint32_t uid;
  const char *run_directory; // NULL: the configured one
};

option_taker take_job;   // const char *
option_taker take_id;    // uint32_t: a user's or group's number, not root's
option_taker take_nodes; // struct buffer: the lines of "HOST/N HOST/N", each host on N of them
bool setup_arguments_parse(int argc, char *const *argv, struct setup_arguments *out, struct failure *why) MUST_USE;
void setup_arguments_free(struct setup_arguments *arguments);
bool unsetup_arguments_parse(int argc, char *const *argv, struct unsetup_arguments *out, struct failure *why) MUST_USE;
