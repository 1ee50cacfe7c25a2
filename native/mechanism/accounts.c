#include "mechanism/accounts.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "limits.gen.h"
#include "mechanism/drop.h"
#include "mechanism/open.h"
#include "mechanism/process.h"
#include "mechanism/site.h"

#define LOOK_UP_SECONDS 60

static bool add_account(struct buffer *out, const struct passwd *entry) {
  if (entry == NULL) return false;
  char empty[1] = "";
  const struct account account = {.name = entry->pw_name, .uid = entry->pw_uid, .gid = entry->pw_gid,
                                  .gecos = entry->pw_gecos == NULL ? empty : entry->pw_gecos,
                                  .home = entry->pw_dir == NULL ? empty : entry->pw_dir,
                                  .shell = entry->pw_shell == NULL ? empty : entry->pw_shell};
  return passwd_write_line(out, &account);
}

// `member` is "", or the account that is in it. A group without a name, or with one that no file can hold, is named by its number.
static void add_group(struct buffer *out, gid_t gid, const char *member) {
  const struct group *entry = getgrgid(gid);
  char number[16];
  snprintf(number, sizeof number, "%u", gid);
  if (entry == NULL || !group_write_line(out, entry->gr_name, gid, member)) group_write_line(out, number, gid, member);
}

static bool add_memberships(struct buffer *out, const char *user, gid_t gid) {
  int count = 0, wanted = 0;
  getgrouplist(user, gid, NULL, &wanted);
  if (wanted < 0 || wanted > LIMIT_GROUP_COUNT) return false;
  AUTO_FREE gid_t *groups = memory_get((size_t)wanted, sizeof *groups);
  count = wanted;
  if (getgrouplist(user, gid, groups, &count) < 0) return false;
  for (int i = 0; i < count; i++) add_group(out, groups[i], user);
  return true;
}

// The child: it is the user for good before the name service, whose modules are not ours, is asked. 0 or an exit status.
static int look_up(int pipe, const struct identity *who, const char *user, const struct words *import) {
  struct failure why;
  static char *nothing[] = {NULL};
  AUTO_BUFFER reply = {0};
  if (!drop_privileges(who, &why) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return 1;
  environ = nothing;
  const struct passwd *entry = user == NULL || *user == '\0' ? getpwuid(who->uid) : getpwnam(user);
  if (!add_account(&reply, entry)) return 2;
  AUTO_FREE char *name = memory_copy(entry->pw_name, strlen(entry->pw_name));
  for (size_t i = 0; i < import->count; i++)
    if (!add_account(&reply, getpwnam(import->items[i]))) return write_all(pipe, import->items[i], strlen(import->items[i])) ? 3 : 1;
  buffer_byte(&reply, '\0');
  if (user != NULL && !add_memberships(&reply, name, who->gid)) return 2;
  if (user == NULL) add_group(&reply, who->gid, "");
  for (size_t i = 0; i < who->groups.count; i++)
    if (who->groups.items[i] != who->gid) add_group(&reply, who->groups.items[i], "");
  buffer_byte(&reply, '\0');
  return write_all(pipe, reply.at, reply.length) ? 0 : 1;
}

// Before: ids all root, SIGCHLD at its default. After: the child is gone; what it said is only data that was checked.
static bool ask_name_service(const struct identity *who, const char *user, const struct words *import, struct accounts *out, struct failure *why) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return fail(why, ERROR_RESOURCE, "pipe: %s", strerror(errno));
  AUTO_FD reader = ends[0], writer = ends[1];
  pid_t child = fork();
  if (child < 0) return fail(why, ERROR_RESOURCE, "fork: %s", strerror(errno));
  if (child == 0) _exit(look_up(writer, who, user, import));
  cleanup_fd(&writer);

  AUTO_BUFFER reply = {0};
  bool complete = pipe_read(reader, child, LOOK_UP_SECONDS, LIMIT_ACCOUNT_REPLY_BYTES, &reply);
  if (!complete) kill(child, SIGKILL);
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
    return fail(why, ERROR_UDIROOT_CONF_INVALID, "usersToImport names the unknown account %s", reply.at == NULL ? "" : reply.at);
  // It is the user's process, which others of his can signal.
  if (!complete || !WIFEXITED(status))
    return fail(why, ERROR_RESOURCE, "uid %u: the account look-up was stopped or killed, which processes of that user can do, or took more than %d seconds", who->uid, LOOK_UP_SECONDS);
  if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 2) return fail(why, ERROR_RESOURCE, "the account look-up failed");
  return accounts_from_reply(&reply, who, user == NULL ? NULL : "", import, out, why);
}

static bool read_files(const char *path, const struct identity *who, const char *user, const struct words *import, struct accounts *out,
                       struct failure *why) {
  AUTO_FD directory = -1;
  AUTO_BUFFER passwd = {0}, group = {0};
  return site_open("etcPath", path, S_IFDIR, &directory, why) && site_read_etc(directory, path, "passwd", &passwd, why) &&
         site_read_etc(directory, path, "group", &group, why) && accounts_from_files(&passwd, &group, who, user, import, out, why);
}

bool accounts_look_up(const struct config *config, const struct identity *who, const char *user, struct accounts *out, struct failure *why) {
  const struct words *import = &config->udiroot[UDIROOT_USERS_TO_IMPORT].words;
  *out = (struct accounts){0};
  if (config->udiroot[UDIROOT_ALLOW_LIBC_PWD_CALLS].number != 0) return ask_name_service(who, user, import, out, why);
  return read_files(config->udiroot[UDIROOT_ETC_PATH].text, who, user, import, out, why);
}
