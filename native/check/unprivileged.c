#include "check/unprivileged.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define USUAL_PATH "/usr/local/bin:/usr/bin:/bin"

bool squashfuse_found(struct buffer *detail) {
  static const char *const programs[] = {"squashfuse_ll", "squashfuse"};
  const char *path = getenv("PATH");
  AUTO_WORDS directories = {0};
  words_add_split(&directories, path == NULL ? "" : path, ":");
  words_add_split(&directories, USUAL_PATH, ":");
  for (size_t i = 0; i < COUNT_OF(programs); i++)
    for (size_t j = 0; j < directories.count; j++) {
      AUTO_BUFFER file = {0};
      buffer_print(&file, "%s/%s", directories.items[j], programs[i]);
      if (file.at[0] != '/' || access(file.at, X_OK) != 0) continue;
      buffer_text(detail, file.at);
      return true;
    }
  buffer_text(detail, "there is no squashfuse_ll or squashfuse in PATH; install squashfuse");
  return false;
}

bool fuse_is_open(struct buffer *detail) {
  struct stat status;
  bool there = stat("/dev/fuse", &status) == 0 && S_ISCHR(status.st_mode), open = there && (status.st_mode & 0006) == 0006;
  buffer_text(detail, "/dev/fuse");
  if (!there) buffer_text(detail, " is missing; load the fuse module");
  if (there && !open) buffer_print(detail, " has mode %04o; with 0666 everybody can open it", status.st_mode & 07777);
  return open;
}

// The child, as an ordinary user: root may make namespaces where others may not. Some systems let a user make one and give him no rights in it.
static int make_namespaces(void) {
  if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)) return errno;
  if (unshare(CLONE_NEWUSER) != 0 || unshare(CLONE_NEWNS) != 0) return errno;
  return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 ? 0 : errno;
}

bool namespaces_work(struct buffer *detail) {
  int status = -1;
  pid_t child = fork();
  if (child == 0) _exit(make_namespaces());
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (child > 0 && status == 0) {
    buffer_text(detail, "ordinary users can make them");
    return true;
  }
  buffer_print(detail, "an ordinary user can't make them: %s; user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns are the settings",
               child > 0 && WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "the test failed");
  return false;
}
