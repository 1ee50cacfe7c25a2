// What Slurm tells a prologue or epilogue of a job. Names that begin with SPANK_ are a user's: he can put any text there.
#pragma once
#include "policy/failure.h"

struct prologue {
  char *job; // decimal digits
  uint32_t uid, gid;
  // Of what the job asked for; NULL where it asked for nothing.
  char *type, *image, *volumes, *modules;
};

// The job itself: without SLURM_JOB_ID, SLURM_JOB_UID and SLURM_JOB_GID this is no prologue of Slurm's.
bool prologue_read_job(char *const *environment, struct prologue *job, struct failure *why) MUST_USE;
// What the job asks for; every text follows its grammar, and none has a control character. That the site takes it, setupRoot says.
bool prologue_read_request(char *const *environment, struct prologue *job, struct failure *why) MUST_USE;
// The last words of setupRoot's command line, or of unsetupRoot's.
void prologue_set_up(const struct prologue *job, struct words *argv);
void prologue_take_down(const struct prologue *job, struct words *argv);
void prologue_free(struct prologue *job);
#define AUTO_PROLOGUE CLEANUP(prologue_free) struct prologue
