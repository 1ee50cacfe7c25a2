/* Runs a program and writes what it and everything it started took, as JSON, to a file:
 *   timed RESULT PROGRAM [ARGUMENT...]
 * Being the reaper of orphans, it also counts what a program leaves running behind its back. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: timed RESULT PROGRAM [ARGUMENT...]\n");
    return 2;
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  pid_t child = fork();
  if (child < 0) {
    perror("fork");
    return 2;
  }
  if (child == 0) {
    execvp(argv[2], argv + 2);
    fprintf(stderr, "timed: %s: %s\n", argv[2], strerror(errno));
    _exit(127);
  }
  int status = 0, result = 0;
  pid_t ended;
  while ((ended = wait(&status)) > 0 || errno == EINTR) {
    if (ended != child) continue;
    clock_gettime(CLOCK_MONOTONIC, &end);
    result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  struct rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  FILE *out = fopen(argv[1], "w");
  if (!out) {
    perror(argv[1]);
    return 2;
  }
  fprintf(out, "{\"status\": %d, \"wall\": %.3f, \"user\": %.3f, \"sys\": %.3f, \"maxrss\": %ld}\n", result,
    (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9, seconds(usage.ru_utime),
    seconds(usage.ru_stime), usage.ru_maxrss);
  return fclose(out) == 0 ? result : 2;
}
