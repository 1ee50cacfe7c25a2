#include "mechanism/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mechanism/drop.h"
#include "mechanism/open.h"
#include "mechanism/site.h"

#define GIVEN 3 // the number of a given descriptor
#define NOT_STARTED 126

// What the child has: no descriptor but its output, no signal held back, no terminal of the caller's, and one variable.
static _Noreturn void become(const struct site_program *program, int output) {
  static char search[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  char *const environment[] = {search, NULL};
  struct words argv = {0};
  words_add_text(&argv, program->path);
  for (size_t i = 0; program->arguments != NULL && program->arguments[i] != NULL; i++) words_add_text(&argv, program->arguments[i]);
  struct failure ignored;
  sigset_t none;
  sigemptyset(&none);
  for (int signal_number = 1; signal_number < NSIG; signal_number++) signal(signal_number, SIG_DFL);
  int null = open("/dev/null", O_RDONLY);
  bool ready = setsid() >= 0 && (program->directory >= 0 ? fchdir(program->directory) : chdir("/")) == 0 && null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
               dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0;
  int last = STDERR_FILENO;
  if (ready && program->descriptor >= 0) {
    last = GIVEN;
    ready = (program->descriptor == GIVEN ? fcntl(GIVEN, F_SETFD, 0) : dup2(program->descriptor, GIVEN)) >= 0;
  }
  ready = ready && close_range((unsigned)last + 1, ~0U, 0) == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0;
  if (ready && (program->account == NULL || drop_privileges(program->account, &ignored))) {
    execve(program->path, argv.items, environment);
    dprintf(STDERR_FILENO, "%s\n", strerror(errno)); // a script without '#!', above all
  }
  _exit(NOT_STARTED);
}

// The first line of what it said; its output goes to memory, since the caller's descriptors are his choice.
static void first_line(int output, char *line, size_t size) {
  ssize_t length = pread(output, line, size - 1, 0);
  line[length > 0 ? length : 0] = '\0';
  line[strcspn(line, "\n")] = '\0';
}

bool run_site_program(const struct site_program *program, struct failure *why) {
  AUTO_FD found = -1;
  if (!site_open(program->setting, program->path, S_IFREG, &found, why)) return false;
  AUTO_FD output = memfd_create("output", MFD_CLOEXEC);
  pid_t child = output < 0 ? -1 : fork();
  if (child < 0) return fail(why, ERROR_RESOURCE, "%s: %s", program->setting, strerror(errno));
  if (child == 0) become(program, output);
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return fail(why, ERROR_RESOURCE, "%s: waiting: %s", program->setting, strerror(errno));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  char line[256];
  first_line(output, line, sizeof line);
  return fail(why, ERROR_HOOK_FAILED, "%s: %s ended with %s %d%s%s", program->setting, program->path, WIFEXITED(status) ? "status" : "signal",
              WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), *line == '\0' ? "" : ": ", line);
}
