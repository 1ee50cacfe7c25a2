#include "mechanism/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LARGEST_ARGUMENTS (8 << 20) // of arguments and environment: the kernel takes three quarters of this
#define GLANCE_MILLISECONDS 250       // how often a child that says nothing is looked at: no descriptor tells that one was stopped

// Limits that could break the building of a root half-way; and that on processes, since who becomes a user with more of them than his
// limit can't execute anything.
static const struct {
  int resource;
  rlim_t wanted;
} needed[] = {{RLIMIT_FSIZE, RLIM_INFINITY}, {RLIMIT_CPU, RLIM_INFINITY},  {RLIMIT_AS, RLIM_INFINITY},
              {RLIMIT_DATA, RLIM_INFINITY},  {RLIMIT_STACK, 8 << 20},      {RLIMIT_NOFILE, 4096},
              {RLIMIT_RTTIME, RLIM_INFINITY}, {RLIMIT_NPROC, RLIM_INFINITY}};

bool standard_descriptors_open(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd) return false;
  return true;
}

static bool raise_limits(struct inherited *inherited) {
  for (int i = 0; i < (int)RLIM_NLIMITS; i++)
    if (getrlimit((__rlimit_resource_t)i, &inherited->limits[i]) != 0) return false;
  // No core file of a process that knows root's files. The hard limit stays: the user could not take it back.
  const struct rlimit no_core = {0, inherited->limits[RLIMIT_CORE].rlim_max};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0) return false;
  for (size_t i = 0; i < COUNT_OF(needed); i++) {
    const struct rlimit *had = &inherited->limits[needed[i].resource];
    struct rlimit raised = *had;
    if (raised.rlim_cur < needed[i].wanted) raised.rlim_cur = needed[i].wanted;
    if (raised.rlim_max < raised.rlim_cur) raised.rlim_max = raised.rlim_cur;
    if (raised.rlim_cur == had->rlim_cur && raised.rlim_max == had->rlim_max) continue;
    if (setrlimit((__rlimit_resource_t)needed[i].resource, &raised) == 0) continue;
    // Where root may not raise hard limits (a container without CAP_SYS_RESOURCE) what there is must do.
    raised = (struct rlimit){had->rlim_max, had->rlim_max};
    if (setrlimit((__rlimit_resource_t)needed[i].resource, &raised) != 0) return false;
  }
  return true;
}

// Signals are held back, not lost: what arrives meanwhile meets the program that is run. SIGCHLD must be waitable for us.
static bool hold_signals(struct inherited *inherited) {
  sigset_t all;
  struct sigaction standard = {.sa_handler = SIG_DFL};
  sigfillset(&all);
  sigemptyset(&standard.sa_mask);
  return sigprocmask(SIG_BLOCK, &all, &inherited->mask) == 0 && sigaction(SIGCHLD, &standard, &inherited->child) == 0;
}

// Texts lie one behind the other: arguments, environment, the name of the program.
char *const *environment_whole(int argc, char *const *argv, char *const *left) {
  static struct words whole;
  const char *last = argc > 0 ? argv[argc - 1] : NULL, *end = (const char *)getauxval(AT_EXECFN);
  uintptr_t from = (uintptr_t)last, to = (uintptr_t)end;
  if (last == NULL || to <= from || to - from > LARGEST_ARGUMENTS) return left;
  for (const char *at = last + strlen(last) + 1; at < end; at += strlen(at) + 1) words_add_text(&whole, at);
  return whole.count == 0 ? left : whole.items;
}

bool inherited_take(struct inherited *inherited, struct failure *why) {
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || !hold_signals(inherited) || !raise_limits(inherited))
    return fail(why, ERROR_RESOURCE, "limits and signals could not be set");
  inherited->umask = umask(022);
  inherited->directory = getcwd(NULL, 0);
  if (inherited->directory != NULL && inherited->directory[0] != '/') {
    free(inherited->directory); // "(unreachable)..."
    inherited->directory = NULL;
  }
  return true;
}

static time_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec;
}

bool pipe_read(int pipe, pid_t writer, int seconds, size_t most, struct buffer *reply) {
  time_t end = now() + seconds;
  char chunk[8192];
  for (;;) {
    struct pollfd wait = {.fd = pipe, .events = POLLIN};
    siginfo_t stop = {0};
    int ready = poll(&wait, 1, GLANCE_MILLISECONDS);
    if (ready < 0 && errno == EINTR) continue;
    bool stopped = ready == 0 && (waitid(P_PID, (id_t)writer, &stop, WSTOPPED | WNOHANG | WNOWAIT) != 0 || stop.si_pid != 0);
    if (ready < 0 || stopped || now() >= end) return false;
    if (ready == 0) continue;
    ssize_t size = read(pipe, chunk, sizeof chunk);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return size == 0;
    if (reply->length + (size_t)size > most) return false;
    buffer_add(reply, chunk, (size_t)size);
  }
}
