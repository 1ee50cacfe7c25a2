// What setupRoot and unsetupRoot share: programs that root's own processes call.
#pragma once
#include "policy/config.h"
#include "policy/options.h"

// Help and version, for anyone.
void answer_simple(enum mode mode, const struct option_table *table);
// Where a refusal is told from now on: on a pipe of the caller (-1: on standard error).
void report_on(const char *program, int fd);
_Noreturn void refuse(const struct failure *why);
_Noreturn void print_and_exit(const char *text);
// Refuses everyone but root; afterwards nothing of the caller's is left in this process but its standard descriptors.
void root_only(void);
// The directory asked for, if it is one of the configuration's, or the first of those.
const char *run_directory(const struct config *config, const char *asked);
// Warns of what has no effect in the configuration, and refuses when something that it names can't be used or is not root's: once a job.
void check_site(const struct config *config);
