// What the PBS hook wrote down of a job on this node (formats/README.md, "Jobs of PBS").
#pragma once
#include "policy/failure.h"

#define JOB_FILE_DIRECTORY "pbs/jobs" // below a run directory
#define JOB_FILE_BYTES (4U << 20)

struct job_file {
  char *job, *image;
  uint32_t uid;
  struct words volumes;
  char *modules, *shell; // NULL where nothing was asked for
  char *writable;        // "yes", or NULL
  uint64_t run;
};

bool job_file_parse(const char *at, size_t length, struct job_file *file, struct failure *why) MUST_USE;
void job_file_free(struct job_file *file);
#define AUTO_JOB_FILE CLEANUP(job_file_free) struct job_file

// The program and options that start something inside, up to "--".
void job_file_arguments(const struct job_file *file, const char *shifter, struct words *arguments);
// What %XX stands for; false for what is no such text, or holds a NUL.
bool text_decode(const char *at, struct buffer *out) MUST_USE;
