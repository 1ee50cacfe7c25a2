#include <grp.h>
#include <sys/types.h>
#include <unistd.h>

#include "limits.gen.h"
#include "mechanism/identity.h"

_Static_assert(sizeof(gid_t) == sizeof(uint32_t) && sizeof(uid_t) == sizeof(uint32_t), "ids are 32 bits");

bool groups_take(struct ids *groups) {
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
  if (!groups_take(&who->groups)) return fail(why, ERROR_RESOURCE, "the caller's groups can't be read");
  if (who->uid == 0 || who->gid == 0) return fail(why, ERROR_CALLER_IS_ROOT, "uid %u, gid %u", who->uid, who->gid);
  if (who->uid > LARGEST_ID || who->gid > LARGEST_ID) return fail(why, ERROR_CALLER_UNKNOWN, "uid %u, gid %u", who->uid, who->gid);
  return true;
}

// The kernel keeps them sorted, so membership both ways is what can be compared.
bool groups_are(const struct ids *groups) {
  struct identity now = {0};
  bool same = groups_take(&now.groups) && now.groups.count == groups->count;
  for (size_t i = 0; same && i < groups->count; i++) same = ids_hold(&now.groups, groups->items[i]) && ids_hold(groups, now.groups.items[i]);
  identity_free(&now);
  return same;
}

bool ids_are(const struct identity *who) {
  uid_t uids[3];
  gid_t gids[3];
  if (getresuid(&uids[0], &uids[1], &uids[2]) != 0 || getresgid(&gids[0], &gids[1], &gids[2]) != 0) return false;
  for (size_t i = 0; i < 3; i++)
    if (uids[i] != who->uid || gids[i] != who->gid) return false;
  return true;
}

bool groups_set(const struct ids *groups) {
  return setgroups(groups->count, groups->items) == 0;
}
