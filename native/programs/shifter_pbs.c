// shifter-pbs: what PBS runs in place of the shell, the program and the tasks of a job that asked for an image. It has no right of its own, and
// runs what it stands for by `shifter`, as root's file on this node says, or nothing at all.
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "mechanism/process.h"
#include "mechanism/site.h"
#include "pbs/job_file.h"
#include "policy/prepared.h"

static const char help[] =
    "shifter-pbs\n"
    "shifter-pbs -- PROGRAM [ARGUMENT...]\n"
    "shifter-pbs --encoded PROGRAM [ARGUMENT...]\n"
    "\n"
    "Runs a shell, or a program, of a PBS job inside the job's image. PBS calls it, where the hook of Shifter has put it: as the job's shell\n"
    "without an argument, and for programs. With --encoded, %XX stands for a byte.\n";

static _Noreturn void refuse(const struct failure *why) {
  AUTO_BUFFER line = {0};
  failure_line(why, "shifter-pbs", &line);
  write_message(&line);
  _exit(error_exit(why->code));
}

// The file of the job in a run directory; false where there is none.
static bool read_in(const char *run, const char *job, struct buffer *content, struct failure *why) {
  AUTO_BUFFER path = {0};
  AUTO_FREE char *unsafe = NULL;
  AUTO_FD directory = -1;
  buffer_print(&path, "%s/" JOB_FILE_DIRECTORY, run);
  enum walk walk = walk_protected(path.at, 0, &directory, &unsafe);
  if (walk == WALK_OK) walk = open_protected_file(directory, job, 0, JOB_FILE_BYTES, content, NULL);
  if (walk == WALK_OK) return true;
  if (walk == WALK_UNSAFE) return fail(why, ERROR_JOB_UNKNOWN, "%s/%s could have been changed by someone other than root", path.at, job);
  return fail(why, ERROR_JOB_UNKNOWN, "there is no %s/%s that you can read: %s", path.at, job, strerror(errno));
}

static void read_job(struct job_file *file) {
  struct failure why;
  struct config config = {0};
  AUTO_BUFFER content = {0};
  const char *job = getenv("PBS_JOBID");
  if (job == NULL || !job_is_valid(job)) refuse((fail(&why, ERROR_JOB_INVALID, "PBS_JOBID is no id of a job"), &why));
  if (!site_load(CONFIG_DIRECTORY, &config, &why)) refuse(&why);
  const struct words *places = &config.runtime[RUNTIME_RUN_DIRECTORY].words;
  bool found = false;
  fail(&why, ERROR_UDIROOT_CONF_INVALID, "runtime.conf: runDirectory is empty");
  for (size_t i = 0; i < places->count && !found; i++) found = read_in(places->items[i], job, &content, &why);
  if (!found || !job_file_parse(content.at, content.length, file, &why)) refuse(&why);
  if (strcmp(file->job, job) != 0 || file->uid != getuid()) refuse((fail(&why, ERROR_JOB_UNKNOWN, "job %s is not yours", job), &why));
  config_free(&config);
}

// A shell of the user's account need not be in the image. A login shell it is never: /etc/profile would replace the image's environment.
static void add_shell(const struct job_file *file, const char *shell, struct words *arguments) {
  static const char choose[] = "[ -x \"$1\" ] && SHELL=$1 || SHELL=/bin/sh; export SHELL; exec \"$SHELL\"";
  const char *const words[] = {"/bin/sh", "-c", choose, "sh", shell};
  if (file->shell != NULL)
    words_add_text(arguments, shell);
  else
    for (size_t i = 0; i < COUNT_OF(words); i++) words_add_text(arguments, words[i]);
}

static bool add_words(int argc, char **argv, struct words *arguments) {
  bool encoded = strcmp(argv[1], "--encoded") == 0;
  if (argc < 3 || (!encoded && strcmp(argv[1], "--") != 0)) return false;
  for (int i = 2; i < argc; i++) {
    AUTO_BUFFER word = {0};
    if (encoded ? !text_decode(argv[i], &word) : (buffer_text(&word, argv[i]), false)) return false;
    words_add(arguments, word.at == NULL ? "" : word.at, word.length);
  }
  return true;
}

// The job's request is that of root's file. What the user's variables ask for is not part of it.
static bool set_environment(const struct job_file *file, const char *shell) {
  static const char *const asking[] = {"SHIFTER_IMAGE", "SHIFTER_IMAGETYPE", "SHIFTER_IMAGEREQUEST", "SHIFTER_VOLUME", "SHIFTER_MODULE", "SHIFTER_ENTRYPOINT"};
  for (size_t i = 0; i < COUNT_OF(asking); i++) {
    AUTO_BUFFER twin = {0};
    buffer_print(&twin, "SLURM_SPANK_%s", asking[i]);
    if (unsetenv(asking[i]) != 0 || unsetenv(twin.at) != 0) return false;
  }
  // PBS names the job's shell here, which is this program.
  return setenv("SHELL", shell, 1) == 0 && setenv("SHIFTER_JOB_ID", file->job, 1) == 0;
}

int main(int argc, char **argv) {
  struct failure why;
  AUTO_JOB_FILE file = {0};
  AUTO_WORDS arguments = {0};
  if (!standard_descriptors_open()) _exit(error_exit(ERROR_RESOURCE));
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return fputs(help, stdout) < 0;
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("shifter-pbs " PROGRAM_VERSION) < 0;
  read_job(&file);
  job_file_arguments(&file, SHIFTER_PROGRAM, &arguments);
  const struct passwd *account = file.shell == NULL ? getpwuid(getuid()) : NULL;
  AUTO_FREE char *shell = NULL;
  const char *chosen = file.shell != NULL ? file.shell : account == NULL || account->pw_shell[0] != '/' ? "/bin/sh" : account->pw_shell;
  shell = memory_copy(chosen, strlen(chosen));
  if (argc < 2)
    add_shell(&file, shell, &arguments);
  else if (!add_words(argc, argv, &arguments))
    refuse((fail(&why, ERROR_USAGE, "%s is none of this program's arguments", argv[1]), &why));
  if (!set_environment(&file, shell)) refuse((fail(&why, ERROR_RESOURCE, "environment: %s", strerror(errno)), &why));
  execv(SHIFTER_PROGRAM, arguments.items);
  refuse((fail(&why, ERROR_NATIVE_MISSING, SHIFTER_PROGRAM ": %s", strerror(errno)), &why));
}
