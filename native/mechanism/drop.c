#include "mechanism/drop.h"

#include <sys/types.h>
#include <unistd.h>

#include "mechanism/identity.h"

bool drop_ids(const struct identity *who) {
  return groups_set(&who->groups) && setresgid(who->gid, who->gid, who->gid) == 0 && setresuid(who->uid, who->uid, who->uid) == 0 &&
         ids_are(who);
}

static bool become(const struct identity *who, struct failure *why) {
  if (!groups_set(&who->groups)) return drop_failed("groups", why);
  if (setresgid(who->gid, who->gid, who->gid) != 0) return drop_failed("gid", why);
  return setresuid(who->uid, who->uid, who->uid) == 0 || drop_failed("uid", why);
}

// Before: ids all root.
bool drop_privileges(const struct identity *who, struct failure *why) {
  if (who->uid == 0 || who->gid == 0) return fail(why, ERROR_DROP_FAILED, "the target is root");
  return drop_capabilities(who, become, why);
}
