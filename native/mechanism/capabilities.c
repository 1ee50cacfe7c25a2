#include "mechanism/drop.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "mechanism/identity.h"

#define MOST_CAPABILITIES 64

bool drop_failed(const char *step, struct failure *why) {
  return fail(why, ERROR_DROP_FAILED, "%s: %s", step, strerror(errno));
}

// Whether nothing is left in it, after it was dropped where `drop` says so.
static bool bounding_set_is_empty(bool drop) {
  for (unsigned long capability = 0; capability < MOST_CAPABILITIES; capability++) {
    int held = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (held < 0) return errno == EINVAL && capability > 0; // the last one is behind us
    if (held != 0 && !(drop && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)) return false;
  }
  return false; // more than we know how to read back
}

static bool clear_capabilities(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  const struct __user_cap_data_struct none[2] = {{0}};
  return syscall(SYS_capset, &header, none) == 0;
}

static bool capabilities_are_clear(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct now[2];
  memset(now, 0xff, sizeof now);
  if (syscall(SYS_capget, &header, now) != 0) return false;
  for (size_t i = 0; i < 2; i++)
    if (now[i].effective != 0 || now[i].permitted != 0 || now[i].inheritable != 0) return false;
  return true;
}

// Before: this process has the capability that each step needs. After: nothing is left to come back with, or false and the caller
// runs nothing.
bool drop_capabilities(const struct identity *who, bool (*become)(const struct identity *, struct failure *), struct failure *why) {
  if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0) return drop_failed("keepcaps", why);
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return drop_failed("ambient set", why);
  if (!bounding_set_is_empty(true)) return drop_failed("bounding set", why);
  if (become != NULL && !become(who, why)) return false;
  if (!clear_capabilities()) return drop_failed("capabilities", why);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return drop_failed("no_new_privs", why);

  errno = EPERM;
  if (!ids_are(who)) return drop_failed("reading the ids back", why);
  if (!groups_are(&who->groups)) return drop_failed("reading the groups back", why);
  if (!capabilities_are_clear()) return drop_failed("reading the capabilities back", why);
  if (!bounding_set_is_empty(false)) return drop_failed("reading the bounding set back", why);
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return drop_failed("reading no_new_privs back", why);
  if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0) return drop_failed("root came back", why);
  return true;
}
