// What a job or step is submitted with: the plugin's options, and the variables that shifter reads where an option is left out.
#pragma once
#include "policy/config.h"
#include "policy/reference.h"

enum submit_option { SUBMIT_IMAGE, SUBMIT_VOLUME, SUBMIT_MODULE, SUBMIT_ENTRYPOINT, SUBMIT_NO_SHIFTER, SUBMIT_IMAGE_PULL, SUBMIT_OPTION_COUNT };

struct submit_options {
  bool given[SUBMIT_OPTION_COUNT];
  char *image, *volumes, *modules, *entrypoint; // entrypoint NULL: the image's own
  uint64_t pull_seconds;                        // 0: as long as it takes
};

// An option as it stands on the command line or in an #SBATCH line; of an image, modules and an entry point the last one counts.
bool submit_option_take(struct submit_options *options, enum submit_option option, const char *value, struct failure *why) MUST_USE;
bool submit_options_any(const struct submit_options *options);
void submit_options_free(struct submit_options *options);

// The variables of a submission. For prologue and epilogue Slurm puts SPANK_ before them.
enum submit_variable {
  VARIABLE_IMAGETYPE, VARIABLE_IMAGE, VARIABLE_IMAGEREQUEST, VARIABLE_VOLUME, VARIABLE_MODULE, VARIABLE_ENTRYPOINT, VARIABLE_COUNT
};
extern const char *const submit_variables[VARIABLE_COUNT];
// In place of SHIFTER_, what prologue and epilogue are told of a component behind the first: salloc puts the last words of all components into
// the one environment of its command, which is the first component's.
#define COMPONENT_PREFIX "SHIFTER_COMPONENT_"

struct submission {
  struct image_reference image; // reference NULL: no image, neither by an option nor by a variable
  bool pinned;                  // the job that this runs in has it resolved already
  char *values[VARIABLE_COUNT]; // those that are known before the image is resolved; NULL where there is none
};

// Whether the site takes it; the variables of the user's environment count where an option is left out. Nothing is resolved yet.
bool submission_make(const struct submit_options *options, const struct config *config, char *const *environment, struct submission *out,
                     struct failure *why) MUST_USE;
// The text that is to be resolved.
void submission_image(const struct submission *submission, struct buffer *out);
void submission_resolved(struct submission *submission, const char *id);
void submission_free(struct submission *submission);
#define AUTO_SUBMISSION CLEANUP(submission_free) struct submission
