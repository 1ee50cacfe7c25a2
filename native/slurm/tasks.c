#include "slurm/tasks.h"

#include <string.h>

#include "slurm/inside.h"

#define VALUE_BYTES 512 // of an image's name only whether there is one is asked

// There since Slurm 23.11.
extern spank_err_t spank_prepend_task_argv(spank_t spank, int argc, const char *argv[]) __attribute__((weak));

void tasks_name_job(spank_t spank) {
  uint32_t job = 0;
  AUTO_BUFFER text = {0};
  if (spank_get_item(spank, S_JOB_ID, &job) != ESPANK_SUCCESS) return;
  buffer_print(&text, "%u", job);
  spank_setenv(spank, "SHIFTER_JOB_ID", text.at, 1);
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
  if (spank_prepend_task_argv != NULL)
    return spank_prepend_task_argv(spank, 2, (const char **)(uintptr_t)before) == ESPANK_SUCCESS || fail(why, ERROR_WLM_FAILED, "spank_prepend_task_argv");
  // Older ones have nothing for it. The list of words is this process's own, which is about to execute them: shifter-task takes the place
  // of the first one, which it is told by a variable.
  bool shifter_everywhere = false;
  if (inside_is_multi_prog(count, argv, &shifter_everywhere))
    return shifter_everywhere || fail(why, ERROR_OPTION_UNAVAILABLE, "--multi-prog: before Slurm 23.11 its programs are not run inside by themselves; write shifter into its file");
  if (spank_setenv(spank, INSIDE_VARIABLE, argv[0], 1) != ESPANK_SUCCESS) return fail(why, ERROR_WLM_FAILED, "the task's environment can't be changed");
  argv[0] = memory_copy(TASK_PROGRAM, sizeof TASK_PROGRAM - 1);
  return true;
}
