/* Times programs that are started as a user, one command after the other in every round so that a busy machine is busy for all:
 *   starts UID GID ROUNDS TOGETHER COMMAND... [-- COMMAND...]...
 * Each round starts TOGETHER processes of a command at once and waits for all. Prints, for every command, a line of milliseconds, one number
 * a round. A command that fails ends the measurement. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define COMMANDS 8

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double once(char **command, int together) {
  double begin = now();
  for (int i = 0; i < together; i++) {
    pid_t child = fork();
    if (child < 0) perror("fork"), exit(2);
    if (child == 0) {
      int null = open("/dev/null", O_WRONLY);
      dup2(null, 1);
      execv(command[0], command);
      perror(command[0]);
      _exit(127);
    }
  }
  for (int i = 0; i < together; i++) {
    int status;
    if (wait(&status) < 0 || status != 0) {
      fprintf(stderr, "starts: %s ended with wait status %d\n", command[0], status);
      exit(1);
    }
  }
  return now() - begin;
}

int main(int argc, char **argv) {
  char **commands[COMMANDS];
  int count = 0, rounds = argc > 5 ? atoi(argv[3]) : 0, together = argc > 5 ? atoi(argv[4]) : 0;
  if (rounds < 1 || together < 1) return fprintf(stderr, "usage: starts UID GID ROUNDS TOGETHER COMMAND... [-- COMMAND...]\n"), 2;
  for (int i = 5; i < argc && count < COMMANDS; i++) {
    commands[count++] = argv + i;
    while (i < argc && strcmp(argv[i], "--") != 0) i++;
    argv[i] = NULL;
  }
  gid_t gid = (gid_t)atoi(argv[2]);
  uid_t uid = (uid_t)atoi(argv[1]);
  if (setgroups(1, &gid) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0 || chdir("/") != 0) return perror("starts"), 2;
  double *taken = calloc((size_t)(count * rounds), sizeof *taken);
  for (int round = -1; round < rounds; round++) /* the first is thrown away */
    for (int i = 0; i < count; i++) {
      double time = once(commands[i], together);
      if (round >= 0) taken[i * rounds + round] = time;
    }
  for (int i = 0; i < count; i++)
    for (int round = 0; round < rounds; round++) printf("%.3f%c", taken[i * rounds + round], round + 1 < rounds ? ' ' : '\n');
  return 0;
}
