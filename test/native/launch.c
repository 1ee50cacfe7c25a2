// Starts a program in ways that no shell can. Compiled by test/harness/node.ts.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static int at(int fd, int wanted) {
  if (fd < 0 || dup2(fd, wanted) != wanted) {
    perror("launch");
    exit(99);
  }
  close(fd);
  return wanted;
}

// launch argc0 PROGRAM: no argument at all, not even a name
static void argc0(char **argv) {
  char *none[] = {NULL};
  execve(argv[0], none, environ);
}

// launch fds NUMBER PROGRAM...: that many descriptors, all inherited
static void fds(char **argv) {
  for (int i = 0, count = atoi(argv[0]); i < count; i++)
    if (open(i % 2 == 0 ? "/dev/null" : "/", O_RDONLY) < 0) _exit(99);
  execv(argv[1], argv + 1);
}

// launch escape PROGRAM...: descriptors that lead back to the host, and some that must be kept
static void escape(char **argv) {
  int ends[2];
  if (pipe(ends) != 0) _exit(99);
  at(open("/", O_RDONLY | O_DIRECTORY), 100);
  at(open("/etc", O_PATH | O_DIRECTORY), 101);
  at(open("/etc/hostname", O_PATH), 102);
  at(open("/proc/self/ns/mnt", O_RDONLY), 103);
  at((int)syscall(SYS_open_tree, AT_FDCWD, "/tmp", 0), 104);
  at((int)syscall(SYS_pidfd_open, getpid(), 0), 105);
  at(open("/etc/passwd", O_RDONLY), 110);
  at(ends[0], 111);
  at(ends[1], 112);
  at(open("/dev/zero", O_RDONLY), 113);
  execv(argv[0], argv);
}

// launch groups NUMBER UID GID PROGRAM...: a user of that many groups (run as root)
static void groups(char **argv) {
  size_t count = (size_t)atol(argv[0]);
  gid_t *list = calloc(count, sizeof *list), gid = (gid_t)atol(argv[2]);
  uid_t uid = (uid_t)atol(argv[1]);
  for (size_t i = 0; i < count; i++) list[i] = (gid_t)(100000 + i);
  if (setgroups(count, list) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) {
    perror("launch groups");
    exit(99);
  }
  execv(argv[3], argv + 3);
}

// launch ids RUID EUID RGID EGID PROGRAM...
static void ids(char **argv) {
  uid_t ruid = (uid_t)strtoul(argv[0], NULL, 10), euid = (uid_t)strtoul(argv[1], NULL, 10);
  gid_t rgid = (gid_t)strtoul(argv[2], NULL, 10), egid = (gid_t)strtoul(argv[3], NULL, 10);
  if (setgroups(0, NULL) != 0 || setresgid(rgid, egid, egid) != 0 || setresuid(ruid, euid, euid) != 0) {
    perror("launch ids");
    exit(99);
  }
  execv(argv[4], argv + 4);
}

// launch swap A B: exchanges two names without end
static void swap(char **argv) {
  for (;;)
    if (syscall(SYS_renameat2, AT_FDCWD, argv[0], AT_FDCWD, argv[1], RENAME_EXCHANGE) != 0) break;
}

// launch quiet PROGRAM...: SIGCHLD ignored, all signals blocked, one pending
static void quiet(char **argv) {
  sigset_t all;
  sigfillset(&all);
  signal(SIGCHLD, SIG_IGN);
  sigprocmask(SIG_SETMASK, &all, NULL);
  raise(SIGUSR1);
  execv(argv[0], argv);
}

// launch push TERMINAL: types a letter into a terminal, as TIOCSTI does; how that ended
static void push(char **argv) {
  int fd = argv[0][0] == '/' ? open(argv[0], O_RDWR | O_NOCTTY) : atoi(argv[0]);
  printf("%s\n", fd < 0 ? strerror(errno) : ioctl(fd, TIOCSTI, "x") == 0 ? "pushed" : strerror(errno));
  exit(0);
}

// launch reach PID NUMBER: whether a process may be signalled, traced, or seen into
static void reach(char **argv) {
  pid_t pid = (pid_t)atol(argv[0]);
  char path[64];
  printf("signal: %s\n", kill(pid, atoi(argv[1])) == 0 ? "sent" : strerror(errno));
  printf("trace: %s\n", ptrace(PTRACE_ATTACH, pid, NULL, NULL) == 0 ? "attached" : strerror(errno));
  for (const char *const *name = (const char *const[]){"environ", "mem", "fd", "root", NULL}; *name != NULL; name++) {
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, *name);
    printf("%s: %s\n", *name, open(path, O_RDONLY) >= 0 ? "open" : strerror(errno));
  }
  exit(0);
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*run)(char **);
    int least;
  } verbs[] = {{"argc0", argc0, 3}, {"fds", fds, 4}, {"escape", escape, 3}, {"groups", groups, 6}, {"ids", ids, 7}, {"swap", swap, 4}, {"quiet", quiet, 3},
               {"push", push, 3}, {"reach", reach, 4}};
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    if (argc >= verbs[i].least && strcmp(argv[1], verbs[i].name) == 0) verbs[i].run(argv + 2);
  perror("launch");
  return 99;
}
