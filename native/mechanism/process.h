// What a process inherits besides its identity: standard descriptors, limits, umask, signals, directory.
#pragma once
#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "policy/failure.h"

struct inherited {
  struct rlimit limits[RLIM_NLIMITS];
  mode_t umask;
  sigset_t mask;
  struct sigaction child; // SIGCHLD
  char *directory;        // NULL when it can't be named
};

// Opens /dev/null on each of 0, 1, 2 that is closed, so that no file of ours lands there.
bool standard_descriptors_open(void) MUST_USE;
// Everything that the caller has in his environment: the C library takes LD_*, TMPDIR and the like out of the list of a setuid program,
// but their texts are where the kernel put them. `left` is that list, for where they can't be found.
char *const *environment_whole(int argc, char *const *argv, char *const *left);
// Notes what the caller gave, and sets what the privileged part needs.
bool inherited_take(struct inherited *inherited, struct failure *why) MUST_USE;
// What a child writes until it closes its end, bounded in length and time; false as soon as it was stopped.
bool pipe_read(int pipe, pid_t writer, int seconds, size_t most, struct buffer *reply) MUST_USE;
