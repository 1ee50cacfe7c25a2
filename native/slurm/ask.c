#include "slurm/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mechanism/open.h"

#define MOST_ANSWERED 4096
#define NOT_STARTED 127 // where posix_spawn can't tell
#define REPORT_FD 3
#define GRACE_SECONDS 10 // that shifterimg has to give its pull up

struct pipes {
  int from, to;
};
static void close_pipes(struct pipes *pipes) {
  cleanup_fd(&pipes->from);
  cleanup_fd(&pipes->to);
}
#define AUTO_PIPES CLEANUP(close_pipes) struct pipes

static bool open_pipes(struct pipes *pipes) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  *pipes = (struct pipes){ends[0], ends[1]};
  return true;
}

// Like a command that the user himself gives: srun holds signals back that its child must get. `answer` and `report`: what becomes standard
// output and REPORT_FD. `apart`: in a process group of its own, so that it gets what we hand on and nothing else. 0, or an error number.
static int start(const char *program, char *const *argv, int answer, int report, bool apart, pid_t *child) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  sigset_t none, usual;
  sigemptyset(&none);
  sigemptyset(&usual);
  for (int signal = 1; signal < SIGRTMIN; signal++)
    if (signal != SIGKILL && signal != SIGSTOP) sigaddset(&usual, signal);
  if (posix_spawn_file_actions_init(&files) != 0 || posix_spawnattr_init(&attributes) != 0) return ENOMEM;
  if (apart) sigaddset(&none, SIGTTOU); // it shows its progress from there, whatever the terminal is set to
  int wrong = posix_spawnattr_setflags(&attributes, (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (apart ? POSIX_SPAWN_SETPGROUP : 0)));
  if (wrong == 0) wrong = posix_spawnattr_setsigmask(&attributes, &none);
  if (wrong == 0) wrong = posix_spawnattr_setsigdefault(&attributes, &usual);
  if (wrong == 0) wrong = posix_spawn_file_actions_adddup2(&files, answer, STDOUT_FILENO);
  if (wrong == 0) wrong = posix_spawn_file_actions_adddup2(&files, report, REPORT_FD);
  if (wrong == 0) wrong = posix_spawnp(child, program, &files, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return wrong;
}

static int wait_for(pid_t child) {
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return status;
}

// "CODE what\n"
static bool refusal(const struct buffer *report, struct failure *why) {
  const char *text = report->at == NULL ? "" : report->at;
  size_t code = strcspn(text, " "), what = strcspn(text, "\n");
  for (int i = 0; i < ERROR_COUNT; i++)
    if (text[code] == ' ' && text_is(text, code, error_name((enum error_code)i)))
      return fail(why, (enum error_code)i, "%.*s", (int)(what - code - 1), text + code + 1);
  return fail(why, ERROR_NATIVE_FAILED, "%s --resolve", SHIFTER_PROGRAM);
}

bool ask_resolve(const char *image, char **id, struct failure *why) {
  static char report_to[] = "--report-fd=3", resolve[] = "--resolve";
  AUTO_FREE char *named = memory_copy(image, strlen(image)), *program = memory_copy(SHIFTER_PROGRAM, strlen(SHIFTER_PROGRAM));
  char *const argv[] = {program, report_to, resolve, named, NULL};
  AUTO_PIPES answers = {-1, -1}, reports = {-1, -1};
  AUTO_BUFFER answer = {0}, report = {0};
  pid_t child;
  if (!open_pipes(&answers) || !open_pipes(&reports)) return fail(why, ERROR_RESOURCE, "pipe: %s", strerror(errno));
  int wrong = start(program, argv, answers.to, reports.to, false, &child);
  if (wrong != 0) return fail(why, ERROR_NATIVE_MISSING, "%s: %s", program, strerror(wrong));
  cleanup_fd(&answers.to);
  cleanup_fd(&reports.to);
  bool read = read_all(answers.from, MOST_ANSWERED, &answer) && read_all(reports.from, MOST_ANSWERED, &report);
  close_pipes(&answers); // so that it ends, whatever it does
  int status = wait_for(child);
  if (!read || status != 0 || answer.length < 2 || answer.at[answer.length - 1] != '\n') return refusal(&report, why);
  *id = memory_copy(answer.at, answer.length - 1);
  return true;
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

enum end { ENDED, ENDED_BY_TIME, ENDED_BY_SIGNAL };

// Until the other end of `life` is closed, which the child has. What asks this one to end, or the end of its time, is handed on, and then there is a bound.
static enum end watch(int life, int signals, uint64_t seconds, pid_t child) {
  enum end end = ENDED;
  int64_t until = seconds == 0 ? -1 : now() + (int64_t)seconds * 1000;
  for (;;) {
    struct pollfd wait[] = {{.fd = life, .events = POLLIN}, {.fd = end == ENDED ? signals : -1, .events = POLLIN}};
    int64_t left = until < 0 ? -1 : until - now();
    int ready = until >= 0 && left <= 0 ? 0 : poll(wait, COUNT_OF(wait), left > INT32_MAX ? INT32_MAX : (int)left);
    if (ready < 0 && errno == EINTR) continue;
    if (ready > 0 && wait[0].revents != 0) return end;
    if (ready == 0 && left > INT32_MAX) continue;
    if (end != ENDED || ready < 0) { // it does not give up
      kill(-child, SIGKILL);
      return end;
    }
    end = ready == 0 ? ENDED_BY_TIME : ENDED_BY_SIGNAL;
    kill(-child, SIGINT); // once: it would take a second one for impatience
    until = now() + GRACE_SECONDS * 1000;
  }
}

// A wrapper may have sent several, of which the second one would end us before we tell what became of the pull.
static void take_signals(int signals) {
  struct signalfd_siginfo got;
  while (read(signals, &got, sizeof got) == (ssize_t)sizeof got) continue;
}

bool ask_pull(const char *program, const char *image, uint64_t seconds, struct failure *why) {
  static char pull[] = "pull";
  AUTO_FREE char *named = memory_copy(image, strlen(image)), *name = memory_copy(program, strlen(program));
  char *const argv[] = {name, pull, named, NULL};
  sigset_t ending, before;
  pid_t child;
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGHUP);
  if (pthread_sigmask(SIG_BLOCK, &ending, &before) != 0) return fail(why, ERROR_RESOURCE, "signals: %s", strerror(errno));
  AUTO_FD signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
  AUTO_PIPES life = {-1, -1};
  int wrong = signals < 0 || !open_pipes(&life) ? errno : start(program, argv, STDERR_FILENO, life.to, true, &child); // nothing of it is among what sbatch --parsable prints
  cleanup_fd(&life.to);
  enum end end = wrong == 0 ? watch(life.from, signals, seconds, child) : ENDED;
  int status = wrong == 0 ? wait_for(child) : -1;
  if (end == ENDED_BY_SIGNAL) take_signals(signals);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (wrong != 0 || (WIFEXITED(status) && WEXITSTATUS(status) == NOT_STARTED))
    return fail(why, ERROR_OPTION_UNAVAILABLE, "--image-pull: %s can't be run: %s. It is in your PATH, or where shifterimg= of plugstack.conf says", program,
                strerror(wrong != 0 ? wrong : ENOENT));
  if (end == ENDED_BY_TIME) return fail(why, ERROR_CANCELLED, "%s is not pulled after %llu seconds", image, (unsigned long long)seconds);
  if (end == ENDED_BY_SIGNAL || (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT)) return fail(why, ERROR_CANCELLED, "the pull of %s", image);
  return status == 0 || fail(why, ERROR_NATIVE_FAILED, "%s pull %s; what it says is above", program, image);
}
