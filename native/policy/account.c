#include "policy/account.h"

#include <stdlib.h>
#include <string.h>

#include "limits.gen.h"
#include "policy/path.h"

bool account_field_is_valid(const char *text) {
  return strchr(text, ':') == NULL && !has_control(text, strlen(text));
}

bool account_is_valid(const struct account *account) {
  return account->name[0] != '\0' && account_field_is_valid(account->name) && account_field_is_valid(account->gecos) &&
         account_field_is_valid(account->home) && account_field_is_valid(account->shell);
}

// Cuts a line at its colons; true when there are exactly `count` fields.
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
  return field == count;
}

static bool take_id(const char *at, size_t length, uint32_t *id) {
  uint64_t number;
  if (!number_parse(at, length, LARGEST_ID, true, &number)) return false;
  *id = (uint32_t)number;
  return true;
}

bool passwd_parse_line(const char *at, size_t length, struct account *out) {
  const char *fields[7];
  size_t sizes[7];
  *out = (struct account){0};
  if (!cut(at, length, 7, fields, sizes) || sizes[0] == 0 || has_control(at, length)) return false;
  if (!take_id(fields[2], sizes[2], &out->uid) || !take_id(fields[3], sizes[3], &out->gid)) return false;
  out->name = memory_copy(fields[0], sizes[0]);
  out->gecos = memory_copy(fields[4], sizes[4]);
  out->home = memory_copy(fields[5], sizes[5]);
  out->shell = memory_copy(fields[6], sizes[6]);
  return true;
}

bool group_parse_line(const char *at, size_t length, struct group_entry *out) {
  const char *fields[4];
  size_t sizes[4];
  *out = (struct group_entry){0};
  if (!cut(at, length, 4, fields, sizes) || sizes[0] == 0 || has_control(at, length)) return false;
  if (!take_id(fields[2], sizes[2], &out->gid)) return false;
  out->name = memory_copy(fields[0], sizes[0]);
  return true;
}

static void add_text(struct buffer *out, const char *text) {
  buffer_add(out, text, strlen(text) + 1);
}

static void add_number(struct buffer *out, uint32_t number) {
  buffer_print(out, "%u", number);
  buffer_byte(out, '\0');
}

void accounts_write_account(struct buffer *out, const char *kind, const struct account *account) {
  add_text(out, kind);
  add_text(out, account->name);
  add_number(out, account->uid);
  add_number(out, account->gid);
  add_text(out, account->gecos);
  add_text(out, account->home);
  add_text(out, account->shell);
}

void accounts_write_group(struct buffer *out, const struct group_entry *group) {
  add_text(out, "group");
  add_text(out, group->name);
  add_number(out, group->gid);
}

void accounts_write_membership(struct buffer *out, uint32_t gid) {
  add_text(out, "member");
  add_number(out, gid);
}

struct reply {
  const char *at, *end;
};

static const char *next_text(struct reply *reply) {
  const char *text = reply->at;
  const char *nul = text < reply->end ? memchr(text, '\0', (size_t)(reply->end - text)) : NULL;
  if (nul == NULL) return NULL;
  reply->at = nul + 1;
  return text;
}

static bool read_number(struct reply *reply, uint32_t *number) {
  const char *text = next_text(reply);
  return text != NULL && take_id(text, strlen(text), number);
}

static bool read_text(struct reply *reply, char **out) {
  const char *text = next_text(reply);
  if (text == NULL || !account_field_is_valid(text)) return false;
  *out = memory_copy(text, strlen(text));
  return true;
}

static bool read_account(struct reply *reply, struct account *out) {
  account_free(out);
  return read_text(reply, &out->name) && read_number(reply, &out->uid) && read_number(reply, &out->gid) && read_text(reply, &out->gecos) &&
         read_text(reply, &out->home) && read_text(reply, &out->shell) && out->name[0] != '\0';
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
  struct group_entry *added = &accounts->groups[accounts->group_count++];
  *added = (struct group_entry){0};
  return added;
}

static bool read_group(struct reply *reply, struct group_entry *out) {
  return read_text(reply, &out->name) && read_number(reply, &out->gid) && out->name[0] != '\0';
}

static bool read_membership(struct reply *reply, struct ids *out) {
  uint32_t gid;
  bool read = out->count < LIMIT_GROUP_COUNT && read_number(reply, &gid);
  if (read) ids_add(out, gid);
  return read;
}

static bool read_reply(struct reply *reply, struct accounts *out) {
  for (;;) {
    const char *kind = next_text(reply);
    if (kind == NULL) return false;
    if (strcmp(kind, "end") == 0) return reply->at == reply->end;
    bool read = false;
    if (strcmp(kind, "caller") == 0)
      read = read_account(reply, &out->caller);
    else if (strcmp(kind, "import") == 0)
      read = read_account(reply, add_imported(out));
    else if (strcmp(kind, "group") == 0)
      read = read_group(reply, add_group(out));
    else if (strcmp(kind, "member") == 0)
      read = read_membership(reply, &out->memberships);
    if (!read) return false;
  }
}

bool accounts_parse_reply(const char *at, size_t length, const struct identity *who, struct accounts *out, struct failure *why) {
  *out = (struct accounts){0};
  struct reply reply = {at, at + length};
  bool read = length > 0 && read_reply(&reply, out);
  if (read && out->caller.name != NULL && out->caller.uid == who->uid) return true;
  accounts_free(out);
  return fail(why, ERROR_CALLER_UNKNOWN, "uid %u", who->uid);
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

static bool member_is_listed(const char *at, size_t length, const char *user) {
  for (size_t start = 0; start <= length;) {
    size_t end = start;
    while (end < length && at[end] != ',') end++;
    if (text_is(at + start, end - start, user)) return true;
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
  struct group_entry group;
  bool parsed = group_parse_line(at, length, &group), mine = parsed && (group.gid == search->who->gid || ids_hold(&search->who->groups, group.gid));
  const char *members = parsed ? (const char *)memrchr(at, ':', length) + 1 : at;
  if (parsed && search->user != NULL && member_is_listed(members, (size_t)(at + length - members), search->user)) {
    if (search->out->memberships.count < LIMIT_GROUP_COUNT) ids_add(&search->out->memberships, group.gid);
    mine = true;
  }
  if (mine)
    *add_group(search->out) = group;
  else
    free(group.name);
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

static void write_account(struct buffer *out, const struct account *account) {
  buffer_print(out, "%s:x:%u:%u:%s:%s:%s\n", account->name, account->uid, account->gid, account->gecos, account->home, account->shell);
}

void write_passwd(struct buffer *out, const struct accounts *accounts) {
  write_account(out, &accounts->caller);
  for (size_t i = 0; i < accounts->imported_count; i++) write_account(out, &accounts->imported[i]);
}

void write_group(struct buffer *out, const struct accounts *accounts, uint64_t most) {
  uint64_t listed = 0;
  for (size_t i = 0; i < accounts->group_count; i++) {
    const struct group_entry *group = &accounts->groups[i];
    if (group->gid == 0) continue;
    buffer_print(out, "%s:x:%u:%s\n", group->name, group->gid, listed < most ? accounts->caller.name : "");
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
  const char *fields[4];
  size_t sizes[4];
  uint32_t gid;
  if (!cut(at, length, 4, fields, sizes) || sizes[0] == 0 || has_control(at, length)) return true;
  if (!take_id(fields[2], sizes[2], &gid) || gid == 0) return true;
  // A group named like the user counts as membership.
  bool member = text_is(fields[0], sizes[0], filter->user) || member_is_listed(fields[3], sizes[3], filter->user);
  bool listed = member && filter->left > 0;
  if (listed) filter->left--;
  buffer_print(filter->out, "%.*s:x:%u:%s\n", (int)sizes[0], fields[0], gid, listed ? filter->user : "");
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
