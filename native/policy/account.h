// Account entries: reading passwd and group lines, and writing those of the container.
#pragma once
#include "policy/image_facts.h"

struct account {
  char *name, *gecos, *home, *shell;
  uint32_t uid, gid;
};

struct group_entry {
  char *name;
  uint32_t gid;
};

// A line of a group file; its texts lie in the line.
struct group_line {
  const char *name, *members;
  size_t name_length, members_length;
  uint32_t gid;
};

struct accounts {
  struct account caller;
  struct account *imported;
  size_t imported_count;
  struct group_entry *groups; // those of the caller that have a name
  size_t group_count, group_room;
  struct ids memberships; // where they were asked for: the groups the account database puts the user in
};

bool passwd_parse_line(const char *at, size_t length, struct account *out) MUST_USE;
bool group_parse_line(const char *at, size_t length, struct group_line *out) MUST_USE;
// The line that is parsed to the same again; nothing, and false, when a text holds ':', a line break or another control character.
bool passwd_write_line(struct buffer *out, const struct account *account);
bool group_write_line(struct buffer *out, const char *name, uint32_t gid, const char *member);
// Accounts out of passwd and group files, for sites without a name service. `user`: NULL, or the name whose memberships are asked for
// ("": the name of the uid).
bool accounts_from_files(const struct buffer *passwd, const struct buffer *group, const struct identity *who, const char *user,
                         const struct words *import, struct accounts *out, struct failure *why) MUST_USE;
// What the look-up child sends: the lines of a passwd file, a NUL, those of a group file, a NUL.
bool accounts_from_reply(const struct buffer *reply, const struct identity *who, const char *user, const struct words *import,
                         struct accounts *out, struct failure *why) MUST_USE;
void accounts_free(struct accounts *accounts);
void account_free(struct account *account);

void write_passwd(struct buffer *out, const struct accounts *accounts);
// The caller's groups; the first `most` of them list the caller. Group 0 is left out.
void write_group(struct buffer *out, const struct accounts *accounts, uint64_t most);
// A group file with no member but the user: group 0 dropped, the user kept in at most `most` groups.
void filter_group(struct buffer *out, const char *at, size_t length, const char *user, uint64_t most);
// Whether a home directory may be mounted at its own path: not the root, nothing the image or this runtime provides.
bool home_is_mountable(const char *home);
