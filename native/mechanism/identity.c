#include "mechanism/identity.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

// Before: effective uid 0. After: no id of the caller is left in this process, so that the caller's limits on processes and his
// right to signal his own do not apply while the root is built.
bool become_root(struct failure *why) {
  const struct identity root = {0};
  bool done = groups_set(&root.groups) && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && ids_are(&root);
  return done || fail(why, ERROR_NOT_SETUID, "root's identity could not be taken");
}

// setfsuid reports the former value and never an error; asking with an impossible id reads the present one.
static bool file_ids_are(uid_t uid, gid_t gid) {
  return (uid_t)setfsuid((uid_t)-1) == uid && (gid_t)setfsgid((gid_t)-1) == gid;
}

static struct __user_cap_header_struct capabilities = {.version = _LINUX_CAPABILITY_VERSION_3};

// Puts all capabilities that this process may have into effect, or none.
static bool capabilities_use(bool all) {
  struct __user_cap_data_struct sets[2];
  if (syscall(SYS_capget, &capabilities, sets) != 0) return false;
  for (size_t i = 0; i < 2; i++) sets[i].effective = all ? sets[i].permitted : 0;
  return syscall(SYS_capset, &capabilities, sets) == 0;
}

static bool capabilities_rest(void) {
  struct __user_cap_data_struct sets[2];
  return syscall(SYS_capget, &capabilities, sets) == 0 && sets[0].effective == 0 && sets[1].effective == 0;
}

// Before: ids all root. After: files are opened with the rights of `who` alone and no capability is in effect, or the process is as before
// and false is returned. Only those for files go by themselves when the file uid leaves 0; CAP_SYS_PTRACE would open what hidepid hides.
bool file_identity_set(const struct identity *who, struct failure *why) {
  if (groups_set(&who->groups)) {
    setfsgid(who->gid);
    setfsuid(who->uid);
    bool rest = capabilities_use(false) && capabilities_rest();
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (rest && file_ids_are(who->uid, who->gid) && groups_are(&who->groups)) return true;
  }
  file_identity_root();
  return fail(why, ERROR_INTERNAL, "the file identity of uid %u could not be taken", who->uid);
}

void file_identity_root(void) {
  int kept = errno;
  const struct ids none = {0};
  bool able = capabilities_use(true);
  setfsuid(0);
  setfsgid(0);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (!able || !file_ids_are(0, 0) || !groups_set(&none)) {
    static const char line[] = "shifter: INTERNAL: the file identity could not be given back.\n";
    ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
    (void)ignored;
    _exit(error_exit(ERROR_INTERNAL));
  }
  errno = kept;
}
