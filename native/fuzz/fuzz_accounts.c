// passwd and group files and the answer of the look-up, whoever wrote them: what is written for the container has nothing in it but the
// account that was asked for, the imported ones, and groups that the user is in. Every line is one entry.
//
// Input: a byte of settings, the passwd part, a NUL, the group part (the answer of a look-up as it is).
#include "fuzz/fuzzing.h"
#include "policy/account.h"

typedef void check_line(const char *at, size_t length);

static size_t each_line(const struct buffer *text, check_line *check) {
  size_t count = 0;
  for (const char *at = text->at, *end = text->at + text->length; at < end; count++) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    must(newline != NULL); // no last line without an end
    check(at, (size_t)(newline - at));
    at = newline + 1;
  }
  return count;
}

static size_t colons(const char *at, size_t length) {
  size_t count = 0;
  for (size_t i = 0; i < length; i++) count += at[i] == ':';
  return count;
}

static void passwd_line(const char *at, size_t length) {
  struct account account;
  must(colons(at, length) == 6 && !has_control(at, length) && passwd_parse_line(at, length, &account));
  account_free(&account);
}

static void group_line(const char *at, size_t length) {
  struct group_line group;
  must(colons(at, length) == 3 && !has_control(at, length) && group_parse_line(at, length, &group));
  must(group.gid != 0 && group.name_length > 0);
}

static void check_written(const struct accounts *accounts, const struct identity *who, const char *user, const struct words *import, uint64_t most) {
  AUTO_BUFFER passwd = {0}, group = {0}, again_passwd = {0};
  struct accounts again;
  struct failure why;
  size_t listed = 0;
  buffer_text(&passwd, "");
  buffer_text(&group, "");
  write_passwd(&passwd, accounts);
  write_group(&group, accounts, most);
  must(each_line(&passwd, passwd_line) == 1 + accounts->imported_count && accounts->imported_count == import->count);
  must(accounts->caller.uid == who->uid && (user == NULL || *user == '\0' || strcmp(accounts->caller.name, user) == 0));
  each_line(&group, group_line);
  for (const char *at = group.at; *at != '\0'; at = strchr(at, '\n') + 1) {
    const char *end = strchr(at, '\n'), *members = memrchr(at, ':', (size_t)(end - at));
    bool member = ++members < end;
    listed += member;
    must(!member || text_is(members, (size_t)(end - members), accounts->caller.name));
  }
  must(listed <= most);
  for (size_t i = 0; i < accounts->group_count; i++) {
    uint32_t gid = accounts->groups[i].gid;
    must(gid == who->gid || ids_hold(&who->groups, gid) || (user != NULL && ids_hold(&accounts->memberships, gid)));
  }
  // What was written is read as the same.
  must(accounts_from_files(&passwd, &group, who, NULL, import, &again, &why));
  write_passwd(&again_passwd, &again);
  must(strcmp(passwd.at, again_passwd.at) == 0);
  accounts_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  uint8_t settings = data[0];
  struct buffer whole = {fuzz_copy(data + 1, size - 1, false), size - 1, 0};
  const char *nul = memchr(whole.at, '\0', whole.length);
  size_t first = nul == NULL ? whole.length : (size_t)(nul - whole.at);
  struct buffer passwd = {fuzz_copy((const uint8_t *)whole.at, first, false), first, 0};
  size_t rest = nul == NULL ? 0 : whole.length - first - 1;
  struct buffer group = {fuzz_copy(nul == NULL ? data : (const uint8_t *)nul + 1, rest, false), rest, 0};
  struct ids groups = {(uint32_t[]){7, 0, 100}, 3, 3};
  const struct identity who = {settings & 1 ? 1000 : 0, 100, settings & 2 ? groups : (struct ids){0}};
  const char *user = settings & 4 ? (settings & 8 ? "alice" : "") : NULL;
  uint64_t most = settings >> 6;
  struct words import = {0};
  if (settings & 16) words_add_text(&import, "sshd");
  struct accounts accounts;
  struct failure why = {0};
  bool taken = settings & 32 ? accounts_from_reply(&whole, &who, user, &import, &accounts, &why)
                             : accounts_from_files(&passwd, &group, &who, user, &import, &accounts, &why);
  if (taken) {
    check_written(&accounts, &who, user, &import, most);
    accounts_free(&accounts);
  } else {
    fuzz_refused(&why);
  }

  AUTO_BUFFER filtered = {0}, twice = {0};
  buffer_text(&filtered, "");
  buffer_text(&twice, "");
  filter_group(&filtered, group.at, group.length, "alice", most);
  each_line(&filtered, group_line);
  filter_group(&twice, filtered.at, filtered.length, "alice", most);
  must(strcmp(filtered.at, twice.at) == 0);
  words_free(&import);
  free(whole.at);
  free(passwd.at);
  free(group.at);
  return 0;
}
