#include "policy/account.h"

#include <stdlib.h>
#include <string.h>

#include "limits.gen.h"
#include "policy/path.h"

// Cuts an entry at its colons; true when there are exactly `count` fields, the name is not empty and nothing is a control character.
static bool cut(const char *at, size_t length, size_t count, const char *fields[], size_t sizes[]) {
  size_t field = 0;
  for (size_t start = 0; start <= length; field++) {
    size_t end = start;
    while (end < length && at[end] != ':') end++;
    if (field == count) return false;
    fields[field] = at + start;
    sizes[field] = end - start;
    start = end + 1;
  }
  return field == count && sizes[0] > 0 && !has_control(at, length);
}

static bool read_id(const char *at, size_t length, uint32_t *id) {
  uint64_t number;
  if (!number_parse(at, length, LARGEST_ID, true, &number)) return false;
  *id = (uint32_t)number;
  return true;
}

bool passwd_parse_line(const char *at, size_t length, struct account *out) {
  const char *fields[7];
  size_t sizes[7];
  *out = (struct account){0};
  if (!cut(at, length, 7, fields, sizes)) return false;
  if (!read_id(fields[2], sizes[2], &out->uid) || !read_id(fields[3], sizes[3], &out->gid)) return false;
  out->name = memory_copy(fields[0], sizes[0]);
  out->gecos = memory_copy(fields[4], sizes[4]);
  out->home = memory_copy(fields[5], sizes[5]);
  out->shell = memory_copy(fields[6], sizes[6]);
  return true;
}

bool group_parse_line(const char *at, size_t length, struct group_line *out) {
  const char *fields[4];
  size_t sizes[4];
  if (!cut(at, length, 4, fields, sizes) || !read_id(fields[2], sizes[2], &out->gid)) return false;
  out->name = fields[0], out->name_length = sizes[0];
  out->members = fields[3], out->members_length = sizes[3];
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

static struct account *add_imported(struct accounts *accounts) {
  accounts->imported = memory_resize(accounts->imported, accounts->imported_count + 1, sizeof *accounts->imported);
  struct account *added = &accounts->imported[accounts->imported_count++];
  *added = (struct account){0};
  return added;
}

static struct group_entry *add_group(struct accounts *accounts) {
  if ((accounts->group_count & (accounts->group_count + 1)) == 0) // room is doubled
    accounts->groups = memory_resize(accounts->groups, 2 * accounts->group_count + 2, sizeof *accounts->groups);
  return &accounts->groups[accounts->group_count++];
}

typedef bool take_line(void *context, const char *at, size_t length);

static void each_line(const char *at, size_t length, take_line *take, void *context) {
  for (size_t start = 0; start < length;) {
    const char *newline = memchr(at + start, '\n', length - start);
    size_t end = newline == NULL ? length : (size_t)(newline - at);
    if (!take(context, at + start, end - start)) return;
    start = end + 1;
  }
}

struct passwd_search {
  const char *name; // or, when NULL, by uid
  uint32_t uid;
  struct account *out;
  bool found;
};

static bool search_passwd(void *context, const char *at, size_t length) {
  struct passwd_search *search = context;
  struct account account;
  search->found = passwd_parse_line(at, length, &account) &&
                  (search->name != NULL ? strcmp(account.name, search->name) == 0 : account.uid == search->uid);
  if (search->found)
    *search->out = account;
  else
    account_free(&account);
  return !search->found;
}

static bool is_member(const struct group_line *group, const char *user) {
  for (size_t start = 0; start <= group->members_length;) {
    size_t end = start;
    while (end < group->members_length && group->members[end] != ',') end++;
    if (text_is(group->members + start, end - start, user)) return true;
    start = end + 1;
  }
  return false;
}

struct group_search {
  const struct identity *who;
  const char *user; // whose memberships are wanted, or NULL
  struct accounts *out;
};

static bool search_group(void *context, const char *at, size_t length) {
  struct group_search *search = context;
  struct group_line group;
  if (!group_parse_line(at, length, &group)) return true;
  bool member = search->user != NULL && is_member(&group, search->user);
  if (member && search->out->memberships.count < LIMIT_GROUP_COUNT) ids_add(&search->out->memberships, group.gid);
  uint64_t number; // a group that is only a number has no name
  if (!member && group.gid != search->who->gid && !ids_hold(&search->who->groups, group.gid)) return true;
  if (number_parse(group.name, group.name_length, UINT64_MAX, true, &number)) return true;
  *add_group(search->out) = (struct group_entry){memory_copy(group.name, group.name_length), group.gid};
  return true;
}

bool accounts_from_files(const struct buffer *passwd, const struct buffer *group, const struct identity *who, const char *user,
                         const struct words *import, struct accounts *out, struct failure *why) {
  *out = (struct accounts){0};
  struct passwd_search search = {.name = user != NULL && *user != '\0' ? user : NULL, .uid = who->uid, .out = &out->caller};
  each_line(passwd->at, passwd->length, search_passwd, &search);
  if (!search.found || out->caller.uid != who->uid) return accounts_free(out), fail(why, ERROR_CALLER_UNKNOWN, "uid %u", who->uid);
  for (size_t i = 0; i < import->count; i++) {
    search = (struct passwd_search){.name = import->items[i], .out = add_imported(out)};
    each_line(passwd->at, passwd->length, search_passwd, &search);
    if (search.found) continue;
    accounts_free(out);
    return fail(why, ERROR_UDIROOT_CONF_INVALID, "usersToImport names the unknown account %s", import->items[i]);
  }
  struct group_search groups = {who, user == NULL ? NULL : out->caller.name, out};
  each_line(group->at, group->length, search_group, &groups);
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

struct group_filter {
  struct buffer *out;
  const char *user;
  uint64_t left;
};

static bool filter_line(void *context, const char *at, size_t length) {
  struct group_filter *filter = context;
  struct group_line group;
  if (!group_parse_line(at, length, &group) || group.gid == 0) return true;
  // A group named like the user counts as membership.
  bool member = text_is(group.name, group.name_length, filter->user) || is_member(&group, filter->user);
  bool listed = member && filter->left > 0;
  if (listed) filter->left--;
  buffer_print(filter->out, "%.*s:x:%u:%s\n", (int)group.name_length, group.name, group.gid, listed ? filter->user : "");
  return true;
}

void filter_group(struct buffer *out, const char *at, size_t length, const char *user, uint64_t most) {
  struct group_filter filter = {out, user, most};
  each_line(at, length, filter_line, &filter);
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
