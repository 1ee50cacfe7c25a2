#include "slurm/tasks.h"

#include <string.h>

#include "mechanism/open.h"
#include "mechanism/prepared.h"
#include "mechanism/site.h"
#include "slurm/inside.h"

#define VALUE_BYTES 512 // of an image's name only whether there is one is asked

// There since Slurm 23.11, and not needed before.
#if SLURM_VERSION_NUMBER < SLURM_VERSION_NUM(23, 11, 0)
extern spank_err_t spank_prepend_task_argv(spank_t spank, int argc, const char *argv[]);
#endif
#pragma weak spank_prepend_task_argv

void tasks_name_job(spank_t spank) {
  uint32_t job = 0;
  AUTO_BUFFER text = {0};
  if (spank_get_item(spank, S_JOB_ID, &job) != ESPANK_SUCCESS) return;
  buffer_print(&text, "%u", job);
  spank_setenv(spank, "SHIFTER_JOB_ID", text.at, 1);
}

// Whether the user has named no other image since the job was submitted.
static bool is_as_submitted(spank_t spank) {
  char now[VALUE_BYTES], submitted[VALUE_BYTES];
  spank_err_t got = spank_getenv(spank, "SHIFTER_IMAGE", now, sizeof now);
  if (got != ESPANK_SUCCESS) return got == ESPANK_ENV_NOEXIST;
  return spank_getenv(spank, "SLURM_SPANK_SHIFTER_IMAGE", submitted, sizeof submitted) == ESPANK_SUCCESS && strcmp(now, submitted) == 0;
}

static void take_entry(spank_t spank, const struct prepared *entry) {
  const char *modules = prepared_text(entry, PREPARED_MODULES);
  AUTO_BUFFER request = {0};
  buffer_print(&request, "id:%s", prepared_text(entry, PREPARED_IMAGE));
  spank_setenv(spank, "SHIFTER_IMAGETYPE", "id", 1);
  spank_setenv(spank, "SHIFTER_IMAGE", prepared_text(entry, PREPARED_IMAGE), 1);
  spank_setenv(spank, "SHIFTER_IMAGEREQUEST", request.at, 1);
  spank_setenv(spank, "SHIFTER_VOLUME", prepared_text(entry, PREPARED_VOLUMES), 1);
  spank_setenv(spank, "SHIFTER_MODULE", *modules == '\0' ? "none" : modules, 1);
  spank_unsetenv(spank, "SLURM_SPANK_SHIFTER_VOLUME"); // it would count where there is no volume
}

// Files that setupRoot made, which root alone can change.
static bool take_root_of(spank_t spank, const char *place, const char *job, const char *uid) {
  AUTO_WORDS names = {0};
  AUTO_FD run = run_open(place);
  AUTO_FD directory = run < 0 ? -1 : job_open(run, job, uid);
  if (directory < 0 || !names_in(directory, false, &names)) return false;
  for (size_t i = 0; i < names.count; i++) {
    AUTO_PREPARED entry = {0};
    struct failure ignored;
    if (!entry_read(directory, names.items[i], &entry, &ignored)) continue;
    take_entry(spank, &entry);
    return true;
  }
  return false;
}

void tasks_take_component(spank_t spank) {
  uint32_t job = 0;
  uid_t uid = 0;
  AUTO_BUFFER job_text = {0}, uid_text = {0};
  struct config config = {0};
  struct failure ignored;
  if (spank_get_item(spank, S_JOB_ID, &job) != ESPANK_SUCCESS || spank_get_item(spank, S_JOB_UID, &uid) != ESPANK_SUCCESS) return;
  buffer_print(&job_text, "%u", job);
  buffer_print(&uid_text, "%u", uid);
  char first[VALUE_BYTES];
  if (spank_getenv(spank, "SLURM_JOB_ID", first, sizeof first) != ESPANK_SUCCESS || strcmp(first, job_text.at) == 0) return;
  if (!is_as_submitted(spank) || !site_load(CONFIG_DIRECTORY, &config, &ignored)) return;
  const struct words *places = &config.runtime[RUNTIME_RUN_DIRECTORY].words;
  for (size_t i = 0; i < places->count && !take_root_of(spank, places->items[i], job_text.at, uid_text.at); i++) continue;
  config_free(&config);
}

static bool is_set(spank_t spank, const char *name) {
  char value[VALUE_BYTES];
  spank_err_t got = spank_getenv(spank, name, value, sizeof value);
  return got == ESPANK_NOSPACE || (got == ESPANK_SUCCESS && value[0] != '\0');
}

static bool has_image(spank_t spank) {
  return is_set(spank, "SHIFTER_IMAGE") || is_set(spank, "SHIFTER_IMAGEREQUEST") || is_set(spank, "SLURM_SPANK_SHIFTER_IMAGE") ||
         is_set(spank, "SLURM_SPANK_SHIFTER_IMAGEREQUEST");
}

// Not the batch script, the shell of salloc or what Slurm itself runs.
static bool is_step(spank_t spank) {
  uint32_t step = 0;
  return spank_get_item(spank, S_JOB_STEPID, &step) == ESPANK_SUCCESS && step < INSIDE_STEPS;
}

bool tasks_run_inside(spank_t spank, struct failure *why) {
  static const char *const before[] = {SHIFTER_PROGRAM, "--", NULL};
  int count = 0;
  char **argv = NULL;
  if (!is_step(spank) || !has_image(spank)) return true;
  if (spank_get_item(spank, S_JOB_ARGV, &count, &argv) != ESPANK_SUCCESS || count < 1 || argv == NULL) return true;
  if (inside_is_shifter(argv[0])) return true;
  bool shifter_everywhere = false, multi_prog = inside_is_multi_prog(count, argv, &shifter_everywhere);
  if (multi_prog && shifter_everywhere) return true;
  if (spank_prepend_task_argv != NULL)
    return spank_prepend_task_argv(spank, 2, (const char **)(uintptr_t)before) == ESPANK_SUCCESS || fail(why, ERROR_WLM_FAILED, "spank_prepend_task_argv");
  // Older ones have nothing for it. The list of words is this process's own, which is about to execute them: shifter-task takes the place
  // of the first one, which it is told by a variable.
  if (multi_prog) return fail(why, ERROR_OPTION_UNAVAILABLE, "--multi-prog: before Slurm 23.11 its programs are not run inside by themselves; write shifter into its file");
  if (spank_setenv(spank, INSIDE_VARIABLE, argv[0], 1) != ESPANK_SUCCESS) return fail(why, ERROR_WLM_FAILED, "the task's environment can't be changed");
  argv[0] = memory_copy(TASK_PROGRAM, sizeof TASK_PROGRAM - 1);
  return true;
}
