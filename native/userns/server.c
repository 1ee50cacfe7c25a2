// squashfuse, which shows the image: over a descriptor of /dev/fuse, so that it needs no mount of its own and no setuid fusermount.
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mechanism/drop.h"
#include "mechanism/mounts.h"
#include "mechanism/open.h"
#include "userns/userns.h"

static const char *const programs[] = {"squashfuse_ll", "squashfuse"}; // the first is the quicker one
#define USUAL_PATH "/usr/local/bin:/usr/bin:/bin"

static struct {
  int device; // /dev/fuse, opened in the namespace that mounts
  int go;     // a pipe: one byte starts the server, its end alone ends it
  int log;    // what squashfuse prints
} server = {-1, -1, -1};

static char *find_program(void) {
  const char *path = surroundings("PATH");
  for (size_t i = 0; i < COUNT_OF(programs); i++) {
    AUTO_WORDS directories = {0};
    words_add_split(&directories, path == NULL ? USUAL_PATH : path, ":");
    words_add_split(&directories, USUAL_PATH, ":");
    for (size_t j = 0; j < directories.count; j++) {
      AUTO_BUFFER file = {0};
      buffer_print(&file, "%s/%s", directories.items[j], programs[i]);
      if (file.at[0] == '/' && access(file.at, X_OK) == 0) return steal(&file.at);
    }
  }
  return NULL;
}

static bool reset_signals(void) {
  sigset_t none;
  const struct sigaction standard = {.sa_handler = SIG_DFL};
  for (int number = 1; number < NSIG; number++) sigaction(number, &standard, NULL); // some can't be set, and are as they should be
  sigemptyset(&none);
  return sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

// The server's descriptors: nothing to read, its words to the log, and the two that it needs.
static bool keep_only(int image, int device) {
  AUTO_FD null = open("/dev/null", O_RDWR | O_CLOEXEC);
  return null >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1 && dup2(server.log, 2) == 2 &&
         close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0 && fcntl(image, F_SETFD, 0) == 0 && fcntl(device, F_SETFD, 0) == 0;
}

// Before: a session of its own, in the caller's mounts. It reads an image, so it gives up the rights of the namespace.
static _Noreturn void serve(char *program, const struct root_plan *plan, int wait) {
  static char foreground[] = "-f";
  struct failure why;
  char byte, source[32], place[32];
  if (chdir("/") != 0 || !reset_signals() || read(wait, &byte, 1) != 1) _exit(0);
  snprintf(source, sizeof source, "/proc/self/fd/%d", plan->image.file.fd);
  snprintf(place, sizeof place, "/dev/fd/%d", server.device);
  if (!keep_only(plan->image.file.fd, server.device) || !drop_privileges(&plan->who, &why)) _exit(1);
  char *const argv[] = {program, foreground, source, place, NULL};
  execve(program, argv, surroundings_all());
  dprintf(2, "%s: %s\n", program, strerror(errno));
  _exit(127);
}

// Nobody's child, so that the program that is run never meets a child it did not start.
static bool start(char *program, const struct root_plan *plan, int wait, struct failure *why) {
  pid_t child = fork();
  if (child == 0) {
    if (setsid() < 0 || (child = fork()) < 0) _exit(1);
    if (child > 0) _exit(0);
    cleanup_fd(&server.go);
    serve(program, plan, wait);
  }
  int status = -1;
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return (child > 0 && status == 0) || fail(why, ERROR_RESOURCE, "squashfuse: no process could be started");
}

bool server_prepare(const struct root_plan *plan, struct failure *why) {
  AUTO_FREE char *program = find_program();
  if (program == NULL) return fail(why, ERROR_FUSE_UNAVAILABLE, "there is no squashfuse_ll or squashfuse in PATH");
  server.device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (server.device < 0) return fail(why, ERROR_FUSE_UNAVAILABLE, "/dev/fuse: %s", strerror(errno));
  int ends[2];
  server.log = memfd_create("squashfuse", MFD_CLOEXEC);
  if (server.log < 0 || pipe2(ends, O_CLOEXEC) != 0) return mount_failed("squashfuse", why);
  AUTO_FD wait = ends[0];
  server.go = ends[1];
  return start(program, plan, wait, why);
}

// Its first line, if it said anything.
static bool server_failed(int error, struct failure *why) {
  char text[200];
  ssize_t length = pread(server.log, text, sizeof text - 1, 0);
  text[length > 0 ? length : 0] = '\0';
  text[strcspn(text, "\n")] = '\0';
  return fail(why, ERROR_MOUNT_FAILED, "squashfuse does not show the image (%s)", text[0] == '\0' ? strerror(error) : text);
}

// Before: no process but this one lives in its mount namespace, so that the mount ends with the last process inside, and the server with
// the mount. After: the server has the only descriptor; were it to end, the mount fails and nothing waits for it.
int server_mount(struct failure *why) {
  char device[16];
  snprintf(device, sizeof device, "%d", server.device);
  const struct mount_option options[] = {{"source", "shifter"},  {"subtype", "squashfuse"}, {"fd", device},
                                         {"rootmode", "40000"},  {"user_id", "0"},          {"group_id", "0"},
                                         {"default_permissions", NULL}};
  AUTO_FD tree = mount_create("fuse", options, COUNT_OF(options), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY, why);
  if (tree < 0) return -1;
  cleanup_fd(&server.device);
  struct stat status;
  bool told = write_all(server.go, "", 1);
  cleanup_fd(&server.go);
  if (!told || fstat(tree, &status) != 0) return server_failed(errno, why), -1;
  cleanup_fd(&server.log);
  return steal_fd(&tree);
}
