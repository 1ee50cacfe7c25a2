// shifter-job: what a workload manager's prologue and epilogue run, as root, on each node of a job. It is the interpreter of those files
// (#!…/shifter-job slurm-prologue), so that no shell is on the way of what a user wrote.
//
// It ends with 0 whatever a job asks for: Slurm takes a node out of service whose prologue fails, and no user's request is worth that. What
// went wrong is told to syslog and on standard error; a job without a prepared root still starts, or is refused by shifter in its own words.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "mechanism/process.h"
#include "slurm/prologue.h"

#define MOST_TOLD 16384

static const char help[] =
    "shifter-job [--run-directory=DIR] slurm-prologue|slurm-epilogue [SCRIPT]\n"
    "\n"
    "Prepares the root of the job that the environment of Slurm's prologue speaks of, or takes it down. For root alone.\n";

struct request {
  struct prologue job;
  bool before;               // the job's first task
  const char *run_directory; // NULL: the configured one
};

// Each line of `told`, with the job in front, to syslog.
static void log_lines(const struct prologue *job, const struct buffer *told) {
  AUTO_WORDS lines = {0};
  words_add_split(&lines, told->at == NULL ? "" : told->at, "\n");
  for (size_t i = 0; i < lines.count; i++) syslog(LOG_WARNING, "job %s of uid %u: %s", job->job == NULL ? "?" : job->job, job->uid, lines.items[i]);
}

static void tell(const struct prologue *job, const struct failure *why) {
  AUTO_BUFFER line = {0};
  failure_line(why, "shifter-job", &line);
  write_message(&line);
  log_lines(job, &line);
}

static _Noreturn void run_child(char *const *argv, int told) {
  static char *nothing[] = {NULL};
  if (dup2(told, STDERR_FILENO) == STDERR_FILENO) execve(argv[0], argv, nothing);
  dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
  _exit(127);
}

// The program has bounds of its own for what it waits for, and Slurm has one for all of it (PrologEpilogTimeout).
static bool run(char *const *argv, struct buffer *told, struct failure *why) {
  int ends[2], status = -1;
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(why, ERROR_RESOURCE, "pipe: %s", strerror(errno));
  AUTO_FD from = ends[0];
  pid_t child = fork();
  if (child == 0) run_child(argv, ends[1]);
  close(ends[1]);
  if (child < 0) return fail(why, ERROR_RESOURCE, "fork: %s", strerror(errno));
  char chunk[1024];
  for (ssize_t got = 1; got != 0;) {
    got = read(from, chunk, sizeof chunk);
    if (got < 0 && errno != EINTR) break;
    if (got > 0 && told->length < MOST_TOLD) buffer_add(told, chunk, (size_t)got);
  }
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return status == 0 || fail(why, ERROR_PREPARE_FAILED, "%s ended with %s %d", argv[0], WIFEXITED(status) ? "status" : "signal",
                             WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

// Standard error of a prologue is kept by Slurm at its level debug2.
static void run_and_tell(const struct prologue *job, const struct words *argv) {
  AUTO_BUFFER told = {0};
  struct failure why;
  bool done = run(argv->items, &told, &why);
  write_message(&told);
  if (!done) log_lines(job, &told);
  if (!done && told.length == 0) tell(job, &why);
}

static void add_run_directory(const struct request *request, struct words *argv) {
  AUTO_BUFFER word = {0};
  if (request->run_directory == NULL) return;
  buffer_print(&word, "--run-directory=%s", request->run_directory);
  words_add(argv, word.at, word.length);
}

static void set_up(struct request *request) {
  struct prologue *job = &request->job;
  AUTO_WORDS argv = {0};
  struct failure why;
  bool good = prologue_read_request(environ, job, &why);
  if (good && job->image == NULL) return;
  if (!good || ((job->uid == 0 || job->gid == 0) && !fail(&why, ERROR_CALLER_IS_ROOT, "no root is prepared for root's jobs"))) {
    tell(job, &why);
    return;
  }
  words_add_text(&argv, SETUP_ROOT_PROGRAM);
  add_run_directory(request, &argv);
  prologue_set_up(job, &argv);
  run_and_tell(job, &argv);
}

static void take_down(const struct request *request) {
  AUTO_WORDS argv = {0};
  words_add_text(&argv, UNSETUP_ROOT_PROGRAM);
  add_run_directory(request, &argv);
  prologue_take_down(&request->job, &argv);
  run_and_tell(&request->job, &argv);
}

// The kernel hands over the word of the script's first line, and the script behind it.
static bool read_words(int argc, char *const *argv, struct request *request, struct failure *why) {
  static const char option[] = "--run-directory=";
  int at = 1;
  if (at < argc && strncmp(argv[at], option, sizeof option - 1) == 0) request->run_directory = argv[at++] + sizeof option - 1;
  const char *verb = at < argc ? argv[at] : "";
  request->before = strcmp(verb, "slurm-prologue") == 0;
  return request->before || strcmp(verb, "slurm-epilogue") == 0 || fail(why, ERROR_USAGE, "slurm-prologue or slurm-epilogue is needed");
}

static bool check_root(struct failure *why) {
  return (getuid() == 0 && geteuid() == 0) || fail(why, ERROR_NOT_ROOT, "uid %u, effective uid %u", getuid(), geteuid());
}

int main(int argc, char **argv) {
  struct request request = {0};
  struct failure why = {.code = ERROR_INTERNAL};

  if (!standard_descriptors_open()) return error_exit(ERROR_RESOURCE);
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return write_all(STDOUT_FILENO, help, sizeof help - 1) ? 0 : 1;
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("shifter-job " PROGRAM_VERSION) >= 0 ? 0 : 1;
  openlog("shifter-job", LOG_PID, LOG_DAEMON);
  // What is wrong here is the administrator's, who sees it at the first job, and no user's.
  bool good = read_words(argc, argv, &request, &why) && check_root(&why) && prologue_read_job(environ, &request.job, &why);
  if (!good)
    tell(&request.job, &why);
  else if (request.before)
    set_up(&request);
  else
    take_down(&request);
  prologue_free(&request.job);
  return good ? 0 : error_exit(why.code);
}
