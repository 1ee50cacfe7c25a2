#include "policy/account.h"

#include <stdlib.h>
#include <string.h>

#include "limits.gen.h"
#include "policy/path.h"

// Cuts an entry at its colons; true when there are exactly `count` fields, the name is not empty and nothing is a control character.
static bool cut(const char *at, size_t length, size_t count, struct part fields[]) {
  size_t field = 0;
  for (struct part part = parts_of(at, length); part_next(&part, ':'); field++) {
    if (field == count) return false;
    fields[field] = part;
  }
  return field == count && fields[0].length > 0 && !has_control(at, length);
}

static bool read_id(const struct part *field, uint32_t *id) {
  uint64_t number;
  if (!number_parse(field->at, field->length, LARGEST_ID, true, &number)) return false;
  *id = (uint32_t)number;
  return true;
}

bool passwd_parse_line(const char *at, size_t length, struct account *out) {
  struct part fields[7];
  *out = (struct account){0};
  if (!cut(at, length, 7, fields) || !read_id(&fields[2], &out->uid) || !read_id(&fields[3], &out->gid)) return false;
  out->name = memory_copy(fields[0].at, fields[0].length);
  out->gecos = memory_copy(fields[4].at, fields[4].length);
  out->home = memory_copy(fields[5].at, fields[5].length);
  out->shell = memory_copy(fields[6].at, fields[6].length);
  return true;
}

bool group_parse_line(const char *at, size_t length, struct group_line *out) {
  struct part fields[4];
  if (!cut(at, length, 4, fields) || !read_id(&fields[2], &out->gid)) return false;
  out->name = fields[0].at, out->name_length = fields[0].length;
  out->members = fields[3].at, out->members_length = fields[3].length;
  return true;
}

static bool can_be_said(const char *const *texts, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strchr(texts[i], ':') != NULL || has_control(texts[i], strlen(texts[i]))) return false;
  return texts[0][0] != '\0';
}

bool passwd_write_line(struct buffer *out, const struct account *account) {
  const char *const texts[] = {account->name, account->gecos, account->home, account->shell};
  if (!can_be_said(texts, COUNT_OF(texts))) return false;
  buffer_print(out, "%s:x:%u:%u:%s:%s:%s\n", account->name, account->uid, account->gid, account->gecos, account->home, account->shell);
  return true;
}

bool group_write_line(struct buffer *out, const char *name, uint32_t gid, const char *member) {
  const char *const texts[] = {name, member};
  if (!can_be_said(texts, COUNT_OF(texts))) return false;
  buffer_print(out, "%s:x:%u:%s\n", name, gid, member);
  return true;
}

static bool find_account(const struct buffer *passwd, const char *name, uint32_t uid, struct account *out) {
  *out = (struct account){0};
  for (struct part line = parts_of(passwd->at, passwd->length); part_next(&line, '\n');) {
    if (!passwd_parse_line(line.at, line.length, out)) continue;
    if (name != NULL ? strcmp(out->name, name) == 0 : out->uid == uid) return true;
    account_free(out);
  }
  return false;
}

static bool is_member(const struct group_line *group, const char *user) {
  for (struct part part = parts_of(group->members, group->members_length); part_next(&part, ',');)
    if (text_is(part.at, part.length, user)) return true;
  return false;
}

// `user`: whose memberships are wanted, or NULL.
static void find_groups(const struct buffer *file, const struct identity *who, const char *user, struct accounts *out) {
  for (struct part line = parts_of(file->at, file->length); part_next(&line, '\n');) {
    struct group_line group;
    uint64_t number; // a group that is only a number has no name
    if (!group_parse_line(line.at, line.length, &group)) continue;
    bool member = user != NULL && is_member(&group, user);
    if (member && out->memberships.count < LIMIT_GROUP_COUNT) ids_add(&out->memberships, group.gid);
    if (!member && group.gid != who->gid && !ids_hold(&who->groups, group.gid)) continue;
    if (number_parse(group.name, group.name_length, UINT64_MAX, true, &number)) continue;
    out->groups = memory_grow(out->groups, &out->group_room, out->group_count + 1, sizeof *out->groups);
    out->groups[out->group_count++] = (struct group_entry){memory_copy(group.name, group.name_length), group.gid};
  }
}

bool accounts_from_files(const struct buffer *passwd, const struct buffer *group, const struct identity *who, const char *user,
                         const struct words *import, struct accounts *out, struct failure *why) {
  *out = (struct accounts){0};
  const char *name = user != NULL && *user != '\0' ? user : NULL;
  if (!find_account(passwd, name, who->uid, &out->caller) || out->caller.uid != who->uid) return accounts_free(out), fail(why, ERROR_CALLER_UNKNOWN, "uid %u", who->uid);
  for (size_t i = 0; i < import->count; i++) {
    out->imported = memory_resize(out->imported, out->imported_count + 1, sizeof *out->imported);
    if (find_account(passwd, import->items[i], 0, &out->imported[out->imported_count++])) continue;
    accounts_free(out);
    return fail(why, ERROR_UDIROOT_CONF_INVALID, "usersToImport names the unknown account %s", import->items[i]);
  }
  find_groups(group, who, user == NULL ? NULL : out->caller.name, out);
  return true;
}

bool accounts_from_reply(const struct buffer *reply, const struct identity *who, const char *user, const struct words *import,
                         struct accounts *out, struct failure *why) {
  size_t end = reply->length == 0 ? 0 : reply->length - 1; // of the last text
  const char *nul = memchr(reply->at, '\0', end);
  if (nul == NULL || reply->at[end] != '\0') return fail(why, ERROR_CALLER_UNKNOWN, "uid %u", who->uid);
  size_t first = (size_t)(nul - reply->at);
  const struct buffer passwd = {reply->at, first, 0}, group = {reply->at + first + 1, end - first - 1, 0};
  return accounts_from_files(&passwd, &group, who, user, import, out, why);
}

void account_free(struct account *account) {
  free(account->name);
  free(account->gecos);
  free(account->home);
  free(account->shell);
  *account = (struct account){0};
}

void accounts_free(struct accounts *accounts) {
  account_free(&accounts->caller);
  for (size_t i = 0; i < accounts->imported_count; i++) account_free(&accounts->imported[i]);
  for (size_t i = 0; i < accounts->group_count; i++) free(accounts->groups[i].name);
  free(accounts->imported);
  free(accounts->groups);
  ids_free(&accounts->memberships);
  *accounts = (struct accounts){0};
}

// What came from lines can always be said in lines.
void write_passwd(struct buffer *out, const struct accounts *accounts) {
  passwd_write_line(out, &accounts->caller);
  for (size_t i = 0; i < accounts->imported_count; i++) passwd_write_line(out, &accounts->imported[i]);
}

void write_group(struct buffer *out, const struct accounts *accounts, uint64_t most) {
  uint64_t listed = 0;
  for (size_t i = 0; i < accounts->group_count; i++) {
    const struct group_entry *group = &accounts->groups[i];
    if (group->gid == 0) continue;
    group_write_line(out, group->name, group->gid, listed < most ? accounts->caller.name : "");
    if (listed < most) listed++;
  }
}

void filter_group(struct buffer *out, const char *at, size_t length, const char *user, uint64_t most) {
  for (struct part line = parts_of(at, length); part_next(&line, '\n');) {
    struct group_line group;
    if (!group_parse_line(line.at, line.length, &group) || group.gid == 0) continue;
    // A group named like the user counts as membership.
    bool member = text_is(group.name, group.name_length, user) || is_member(&group, user);
    bool listed = member && most > 0;
    if (listed) most--;
    buffer_print(out, "%.*s:x:%u:%s\n", (int)group.name_length, group.name, group.gid, listed ? user : "");
  }
}

bool home_is_mountable(const char *home) {
  static const char *const kept[] = {"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/tmp", "/usr", "/var/tmp"};
  if (!path_is_plain(home, strlen(home))) return false;
  AUTO_FREE char *clean = path_clean(home, strlen(home));
  if (strcmp(clean, "/") == 0 || strcmp(clean, "/var") == 0 || strcmp(clean, "/opt") == 0) return false;
  for (size_t i = 0; i < COUNT_OF(kept); i++)
    if (path_is_within(clean, kept[i])) return false;
  return true;
}
