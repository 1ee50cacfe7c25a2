#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "policy/environment.h"
#include "userns/userns.h"

static char *const *noted;

void surroundings_note(char *const *environment) {
  noted = environment;
}

const char *surroundings(const char *name) {
  return environment_value(noted, name);
}

char *const *surroundings_all(void) {
  return noted;
}

// Settings that keep ordinary users from making namespaces, and the value that does.
static const struct {
  const char *name, *path;
  char value;
} switches[] = {{"user.max_user_namespaces", "/proc/sys/user/max_user_namespaces", '0'},
                {"user.max_mnt_namespaces", "/proc/sys/user/max_mnt_namespaces", '0'},
                {"kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone", '0'},
                {"kernel.apparmor_restrict_unprivileged_userns", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1'}};

static bool is_switched(const char *path, char value) {
  char text[3] = "";
  AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd >= 0 && read(fd, text, sizeof text) == 2 && text[0] == value && text[1] == '\n';
}

static bool unavailable(const char *step, struct failure *why) {
  const char *error = strerror(errno);
  for (size_t i = 0; i < COUNT_OF(switches); i++)
    if (is_switched(switches[i].path, switches[i].value))
      return fail(why, ERROR_USERNS_UNAVAILABLE, "the sysctl %s is %c (%s: %s)", switches[i].name, switches[i].value, step, error);
  if (errno == ENOSPC) return fail(why, ERROR_USERNS_UNAVAILABLE, "the limit of the sysctl user.max_user_namespaces is reached (%s: %s)", step, error);
  return fail(why, ERROR_USERNS_UNAVAILABLE, "%s: %s (no sysctl forbids it; a chroot, a container or a security module may)", step, error);
}

static bool put(const char *path, const char *text, struct failure *why) {
  AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);
  return (fd >= 0 && write_all(fd, text, strlen(text))) || unavailable(path, why);
}

static bool map(const char *path, unsigned inside, unsigned outside, struct failure *why) {
  char text[32];
  snprintf(text, sizeof text, "%u %u 1\n", inside, outside);
  return put(path, text, why);
}

// The kernel lets groups be mapped only where none can be given up: a group that is denied something must not lose itself.
bool userns_enter(const struct identity *inside, const struct identity *outside, struct failure *why) {
  if (unshare(CLONE_NEWUSER) != 0) return unavailable("unshare", why);
  return put("/proc/self/setgroups", "deny", why) && map("/proc/self/uid_map", inside->uid, outside->uid, why) &&
         map("/proc/self/gid_map", inside->gid, outside->gid, why);
}
