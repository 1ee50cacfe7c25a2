/* A setuid program that does nothing but give its rights up and start another: what a start costs without any container.
 *   bare PROGRAM [ARGUMENT...] */
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 2 || geteuid() != 0 || setresgid(getgid(), getgid(), getgid()) != 0 || setresuid(getuid(), getuid(), getuid()) != 0) return 2;
  execv(argv[1], argv + 1);
  return perror(argv[1]), 127;
}
