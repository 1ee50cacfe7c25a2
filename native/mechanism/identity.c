#include "mechanism/identity.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

#include "limits.gen.h"

_Static_assert(sizeof(gid_t) == sizeof(uint32_t) && sizeof(uid_t) == sizeof(uint32_t), "ids are 32 bits");

static bool take_groups(struct ids *groups) {
  for (int attempt = 0; attempt < 8; attempt++) {
    int count = getgroups(0, NULL);
    if (count < 0 || count > LIMIT_GROUP_COUNT) return false;
    groups->items = memory_resize(groups->items, (size_t)count, sizeof *groups->items);
    groups->room = (size_t)count;
    int got = getgroups(count, groups->items);
    if (got < 0) continue;
    groups->count = (size_t)got;
    return true;
  }
  return false;
}

bool identity_of_caller(struct identity *who, struct failure *why) {
  *who = (struct identity){.uid = getuid(), .gid = getgid()};
  if (!take_groups(&who->groups)) return fail(why, ERROR_RESOURCE, "the caller's groups can't be read");
  if (who->uid == 0 || who->gid == 0) return fail(why, ERROR_CALLER_IS_ROOT, "uid %u, gid %u", who->uid, who->gid);
  if (who->uid > LARGEST_ID || who->gid > LARGEST_ID) return fail(why, ERROR_CALLER_UNKNOWN, "uid %u, gid %u", who->uid, who->gid);
  return true;
}

bool groups_set(const struct ids *groups) {
  return setgroups(groups->count, groups->items) == 0;
}

static bool groups_are(const struct ids *groups) {
  struct identity now = {0};
  bool same = take_groups(&now.groups) && now.groups.count == groups->count;
  // The kernel keeps them sorted, so membership both ways is what can be compared.
  for (size_t i = 0; same && i < groups->count; i++) same = ids_hold(&now.groups, groups->items[i]);
  identity_free(&now);
  return same;
}

// Before: effective uid 0. After: no id of the caller is left in this process, so that the caller's limits on processes and his
// right to signal his own do not apply while the root is built.
bool become_root(struct failure *why) {
  uid_t uids[3];
  gid_t gids[3];
  const struct ids none = {0};
  bool done = groups_set(&none) && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
              getresuid(&uids[0], &uids[1], &uids[2]) == 0 && getresgid(&gids[0], &gids[1], &gids[2]) == 0;
  for (size_t i = 0; done && i < 3; i++) done = uids[i] == 0 && gids[i] == 0;
  return done || fail(why, ERROR_NOT_SETUID, "root's identity could not be taken");
}

// setfsuid reports the former value and never an error; asking with an impossible id reads the present one.
static bool file_ids_are(uid_t uid, gid_t gid) {
  return (uid_t)setfsuid((uid_t)-1) == uid && (gid_t)setfsgid((gid_t)-1) == gid;
}

// Before: ids all root. After: files are opened with the rights of `who` alone (the kernel takes the file capabilities out of the
// effective set when the file uid leaves 0), or the process is as before and false is returned.
bool file_identity_set(const struct identity *who, struct failure *why) {
  if (groups_set(&who->groups)) {
    setfsgid(who->gid);
    setfsuid(who->uid);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (file_ids_are(who->uid, who->gid) && groups_are(&who->groups)) return true;
  }
  file_identity_root();
  return fail(why, ERROR_INTERNAL, "the file identity of uid %u could not be taken", who->uid);
}

void file_identity_root(void) {
  int kept = errno;
  const struct ids none = {0};
  setfsuid(0);
  setfsgid(0);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (!file_ids_are(0, 0) || !groups_set(&none)) {
    static const char line[] = "shifter: INTERNAL: the file identity could not be given back.\n";
    ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
    (void)ignored;
    _exit(error_exit(ERROR_INTERNAL));
  }
  errno = kept;
}
