// A guest's kernel that a disk has taken over: it does what the disk's first line says, to show what the host lets pass.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tell(const char *what, long result) {
  char line[256];
  int length = snprintf(line, sizeof line, "fact title %s: %s\n", what, result >= 0 ? "done" : strerrorname_np(errno));
  if (write(1, line, (size_t)length) != length) _exit(1);
}

static long processes(void) {
  long count = 0;
  for (pid_t pid; count < 1000 && (pid = fork()) >= 0; count++)
    if (pid == 0) {
      pause();
      _exit(0);
    }
  return count;
}

// Each line tells of one way out.
static void probe(void) {
  static const int families[] = {AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK};
  static const char *const names[] = {"inet", "inet6", "netlink", "packet", "alg", "vsock"};
  int own = socket(AF_UNIX, SOCK_DGRAM, 0);
  tell("socket unix", own);
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) tell(names[i], socket(families[i], SOCK_RAW, 0));
  tell("user namespace", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
  tell("network namespace", syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0));
  tell("unshare", unshare(CLONE_NEWUSER));
  tell("mount", mount("x", "/tmp", "tmpfs", 0, NULL));
  tell("host's files", open("/etc/passwd", O_RDONLY));
  tell("host's processes", open("/proc/1/status", O_RDONLY));
  tell("write the disk", open("/disk", O_RDWR));
  tell("unmapped memory", mmap(NULL, (size_t)2 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
  int file = open("/output", O_WRONLY);
  tell("write far", pwrite(file, "x", 1, (off_t)1 << 50));
  errno = EAGAIN;
  tell("a thousand processes", processes() >= 1000 ? 0 : -1);
}

int main(void) {
  static char script[1 << 20];
  int disk = open("/disk", O_RDONLY);
  ssize_t size = disk < 0 ? -1 : read(disk, script, sizeof script - 1);
  if (size <= 0) return 1;
  char *rest = strchr(script, '\n');
  if (rest == NULL) return 1;
  *rest++ = '\0';
  char *end = strstr(rest, "END");
  size_t length = end == NULL ? (size_t)(script + size - rest) : (size_t)(end - rest);
  do {
    if (write(strcmp(script, "log") == 0 ? 2 : 1, rest, length) < 0 && errno != EINTR) return 1;
  } while (strcmp(script, "flood") == 0 || strcmp(script, "log") == 0);
  if (strcmp(script, "probe") == 0) probe();
  if (strcmp(script, "hold") == 0)
    for (;;) pause();
  return strcmp(script, "probe") == 0 ? raise(SIGKILL) : 0;
}
