// shifter_slurm.so: the SPANK plugin. It gives sbatch, salloc and srun the options of images, has the image resolved and the request checked
// where the job is submitted, and leaves the answer in variables: for shifter in the job's environment, for prologue and epilogue in what
// Slurm hands on to them. In slurmstepd, which is root, it reads no text of a user's; what it sets there is Slurm's own.
#include <errno.h>
#include <slurm/spank.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mechanism/site.h"
#include "slurm/ask.h"
#include "slurm/settings.h"
#include "slurm/submission.h"
#include "slurm/tasks.h"

#define EXPORTED __attribute__((visibility("default")))
#define NAME "shifter_slurm"
extern EXPORTED const char plugin_name[], plugin_type[];
extern EXPORTED const unsigned int plugin_version, spank_plugin_version;
SPANK_PLUGIN(shifter_slurm, 1)

// What the options of one submission said; those of the next component of a heterogeneous job are another submission.
static struct submit_options options;
static bool step_has_own; // in slurmstepd: its srun was given an image
static unsigned submissions;
static char *first_request; // of the first component

static int take_option(int value, const char *text, int remote);

#define OPTION(index, argument, text, kind) [index] = {NULL, argument, (char[]){text}, kind, index, take_option}
enum { NO_VALUE, NEEDS_VALUE, MAY_HAVE_VALUE };
static struct spank_option offered[SUBMIT_OPTION_COUNT] = {
    OPTION(SUBMIT_IMAGE, (char[]){"TYPE:REFERENCE"}, "image of the job, for shifter and the job's prepared root", NEEDS_VALUE),
    OPTION(SUBMIT_VOLUME, (char[]){"FROM:TO[:ro]"}, "show a directory or file at another place inside; may be repeated", NEEDS_VALUE),
    OPTION(SUBMIT_MODULE, (char[]){"NAME,..."}, "modules of the site, or none", NEEDS_VALUE),
    OPTION(SUBMIT_ENTRYPOINT, (char[]){"CMD"}, "run programs inside by CMD, or by the image's entry point", MAY_HAVE_VALUE),
    OPTION(SUBMIT_NO_SHIFTER, NULL, "no image for this job or step, whatever the environment says", NO_VALUE),
    OPTION(SUBMIT_IMAGE_PULL, (char[]){"TIME"}, "pull the image first, and wait at most TIME (90, 5m, 2h)", MAY_HAVE_VALUE),
};
#define NAMES(prefix)                                                                                                            \
  {(char[]){prefix "image"},      (char[]){prefix "volume"},     (char[]){prefix "module"},                                      \
   (char[]){prefix "entrypoint"}, (char[]){prefix "no-shifter"}, (char[]){prefix "image-pull"}}
static char *names[2][SUBMIT_OPTION_COUNT] = {NAMES(""), NAMES("shifter.")};

static int refuse(const struct failure *why) {
  AUTO_BUFFER text = {0};
  failure_line(why, "shifter", &text);
  slurm_error("%.*s", (int)text.length - 1, text.at); // without its line break
  return -1;                                         // Slurm goes on after any other number
}

// Which makes jobs of its lines, but asks no plugin what their options mean: the image would be forgotten without a word.
static bool in_scrontab(struct failure *why) {
  return strcmp(program_invocation_short_name, "scrontab") == 0 &&
         !fail(why, ERROR_OPTION_UNAVAILABLE, "scrontab has no options of images; have the job run srun --image=... shifter COMMAND, or sbatch");
}

static int take_option(int value, const char *text, int remote) {
  struct failure why;
  if (remote != 0 && (value == SUBMIT_IMAGE || value == SUBMIT_NO_SHIFTER)) step_has_own = true;
  if (remote != 0 || value < 0 || value >= SUBMIT_OPTION_COUNT) return 0; // resolved where the step was submitted
  return !in_scrontab(&why) && submit_option_take(&options, (enum submit_option)value, text, &why) ? 0 : refuse(&why);
}

// --- Submission ---

static void set(spank_t spank, const char *name, const char *value) {
  AUTO_BUFFER twin = {0};
  buffer_print(&twin, "SLURM_SPANK_%s", name); // goes into the job with --export=NONE too
  spank_job_control_setenv(spank, name, value, 1);
  setenv(twin.at, value, 1);
  setenv(name, value, 1);
}

static void set_component(spank_t spank, const char *name, const char *value) {
  AUTO_BUFFER other = {0};
  buffer_print(&other, COMPONENT_PREFIX "%s", name + strlen("SHIFTER_"));
  spank_job_control_unsetenv(spank, name);
  if (value == NULL) spank_job_control_unsetenv(spank, other.at);
  else spank_job_control_setenv(spank, other.at, value, 1);
}

static void forget(spank_t spank, const char *name) {
  AUTO_BUFFER twin = {0};
  buffer_print(&twin, "SLURM_SPANK_%s", name);
  spank_job_control_unsetenv(spank, name);
  unsetenv(twin.at);
  unsetenv(name);
}

// The environment is not a later component's to change: the first one's script has it.
static void leave_out(spank_t spank, const char *name, bool in_environment) {
  set_component(spank, name, NULL);
  if (in_environment) forget(spank, name);
}

// Slurm would hand the options on as they were written, and every srun in the job would take them for its own: the name would be resolved
// again, and mean another image by then.
static void forget_options(spank_t spank) {
  for (size_t i = 0; i < SUBMIT_OPTION_COUNT; i++) {
    AUTO_BUFFER variable = {0};
    buffer_text(&variable, "_SLURM_SPANK_OPTION_" NAME "_");
    for (const char *at = offered[i].name; *at != '\0'; at++) buffer_byte(&variable, *at == '.' || *at == '-' ? '_' : *at);
    forget(spank, variable.at);
  }
}

static bool resolve(const struct settings *settings, struct submission *submission, struct failure *why) {
  AUTO_BUFFER image = {0};
  AUTO_FREE char *id = NULL;
  if (submission->image.reference == NULL) return true;
  submission_image(submission, &image);
  if (options.given[SUBMIT_IMAGE_PULL] && !submission->pinned && !ask_pull(settings->shifterimg, image.at, options.pull_seconds, why)) return false;
  if (!ask_resolve(image.at, &id, why)) return false;
  submission_resolved(submission, id);
  return true;
}

// The components of one srun share their environment, so that the last image would be everyone's.
static bool check_component(const struct submission *submission, struct failure *why) {
  AUTO_BUFFER request = {0};
  for (size_t i = 0; i < VARIABLE_COUNT; i++) buffer_print(&request, "%s\n", submission->values[i] == NULL ? "" : submission->values[i]);
  if (first_request == NULL) first_request = steal(&request.at);
  return request.at == NULL || strcmp(request.at, first_request) == 0 ||
         fail(why, ERROR_USAGE, "the commands of one srun can't have different images by options; write srun ... shifter --image=... COMMAND : shifter --image=... COMMAND");
}

static bool submit(spank_t spank, bool in_srun, const struct settings *settings, struct failure *why) {
  struct config config = {0};
  AUTO_SUBMISSION submission = {0};
  bool good = site_load(CONFIG_DIRECTORY, &config, why) && submission_make(&options, &config, environ, &submission, why) &&
              resolve(settings, &submission, why) && (!in_srun || check_component(&submission, why));
  config_free(&config);
  if (!good) return false;
  for (size_t i = 0; i < VARIABLE_COUNT; i++) {
    // A batch script and the shell of salloc run on the first component's nodes, so theirs is its image.
    if (!in_srun && submissions > 0) set_component(spank, submit_variables[i], submission.values[i]);
    else if (submission.values[i] != NULL) set(spank, submit_variables[i], submission.values[i]);
  }
  return true;
}

static int submit_component(spank_t spank, bool in_srun, const struct settings *settings) {
  struct failure why = {.code = ERROR_INTERNAL};
  bool good = true;
  if (options.given[SUBMIT_NO_SHIFTER])
    for (size_t i = 0; i < VARIABLE_COUNT; i++) leave_out(spank, submit_variables[i], in_srun || submissions == 0);
  else if (submit_options_any(&options))
    good = submit(spank, in_srun, settings, &why);
  else if (!in_srun) // a job that asks for nothing has nothing prepared, also as a component behind one that does
    for (size_t i = 0; i < VARIABLE_COUNT; i++) leave_out(spank, submit_variables[i], false);
  forget_options(spank);
  submit_options_free(&options);
  submissions++;
  return good ? 0 : refuse(&why);
}

// --- What Slurm calls ---

EXPORTED int slurm_spank_init(spank_t spank, int count, char **words) {
  struct settings settings;
  struct failure why;
  spank_context_t context = spank_context();
  bool submits = context == S_CTX_ALLOCATOR || context == S_CTX_LOCAL;
  bool good = settings_parse(count, words, &settings, &why);
  // A mistake in plugstack.conf is told where jobs are submitted and where slurmd starts; it ends no job that runs.
  if (!good && (submits || context == S_CTX_SLURMD)) return refuse(&why);
  if (!submits && context != S_CTX_REMOTE) return 0;
  for (size_t i = 0; i < SUBMIT_OPTION_COUNT; i++) {
    offered[i].name = names[settings.long_options ? 1 : 0][i];
    spank_err_t wrong = spank_option_register(spank, &offered[i]);
    if (wrong != ESPANK_SUCCESS) slurm_error("shifter: --%s: %s", offered[i].name, spank_strerror(wrong));
  }
  return 0;
}

EXPORTED int slurm_spank_init_post_opt(spank_t spank, int count, char **words) {
  struct settings settings;
  struct failure why;
  spank_context_t context = spank_context();
  if (context == S_CTX_REMOTE) tasks_name_job(spank);
  if (context == S_CTX_REMOTE && !step_has_own) tasks_take_component(spank);
  if (context != S_CTX_ALLOCATOR && context != S_CTX_LOCAL) return 0;
  if (!settings_parse(count, words, &settings, &why)) return refuse(&why);
  return submit_component(spank, context == S_CTX_LOCAL, &settings);
}

// As the user, before the site's TaskProlog and before the program is looked for.
EXPORTED int slurm_spank_task_init(spank_t spank, int count, char **words) {
  struct settings settings;
  struct failure why;
  if (spank_context() != S_CTX_REMOTE) return 0;
  bool good = settings_parse(count, words, &settings, &why);
  if (good && !settings.inside) return 0;
  return good && tasks_run_inside(spank, &why) ? 0 : refuse(&why);
}

EXPORTED int slurm_spank_exit(spank_t spank, int count, char **words) {
  (void)spank, (void)count, (void)words;
  submit_options_free(&options);
  cleanup_free(&first_request);
  submissions = 0;
  return 0;
}
