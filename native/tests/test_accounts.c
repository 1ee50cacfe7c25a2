// Account entries: what is read, and what is written for the container.
#include "tests/testing.h"

#include "policy/account.h"

// etc_group_filter.json
static void group_filter(void **state) {
  (void)state;
  static const struct {
    const char *in, *user;
    uint64_t most;
    const char *out;
  } rows[] = {{"root:x:0:\n", "alice", 31, ""},
              {"g1:x:10:alice,bob", "alice", 31, "g1:x:10:alice\n"},
              {"g1:x:10:bob", "alice", 31, "g1:x:10:\n"},
              {"alice:x:1000:", "alice", 31, "alice:x:1000:alice\n"},
              {"a:x:1:alice\nb:x:2:alice\nc:x:3:alice\n", "alice", 2, "a:x:1:alice\nb:x:2:alice\nc:x:3:\n"},
              {"a:x:1:alice\n", "alice", 0, "a:x:1:\n"},
              {"a:x:1:alice2,malice\n", "alice", 31, "a:x:1:\n"},
              {"broken\n:x:5:\na:x:-1:\na:x:4294967296:\na:b:c:d:e\n+:::\n", "alice", 31, ""}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    AUTO_BUFFER out = {0};
    buffer_text(&out, "");
    filter_group(&out, rows[i].in, strlen(rows[i].in), rows[i].user, rows[i].most);
    check(same_text(out.at, rows[i].out), rows[i].in);
  }
}

static const struct account alice = {(char *)"alice", (char *)"Alice, 1", (char *)"/home/alice", (char *)"/bin/sh", 1000, 100};

static void reply_of(struct buffer *reply, const struct account *caller) {
  const struct account imported = {(char *)"sshd", (char *)"", (char *)"/run", (char *)"/bin/false", 22, 22};
  reply->length = 0;
  assert_true(passwd_write_line(reply, caller));
  assert_true(passwd_write_line(reply, &imported));
  buffer_byte(reply, '\0');
  assert_true(group_write_line(reply, "users", 100, ""));
  assert_true(group_write_line(reply, "root", 0, ""));
  buffer_byte(reply, '\0');
}

static void replies(void **state) {
  (void)state;
  struct identity who = {1000, 100, {0}};
  ids_add(&who.groups, 0);
  AUTO_BUFFER reply = {0}, text = {0};
  AUTO_WORDS import = {0};
  words_add_text(&import, "sshd");
  struct accounts accounts;
  struct failure why = {0};
  reply_of(&reply, &alice);
  assert_true(accounts_from_reply(&reply, &who, NULL, &import, &accounts, &why));
  write_passwd(&text, &accounts);
  assert_string_equal(text.at, "alice:x:1000:100:Alice, 1:/home/alice:/bin/sh\nsshd:x:22:22::/run:/bin/false\n");
  text.length = 0;
  write_group(&text, &accounts, 31);
  assert_string_equal(text.at, "users:x:100:alice\n");
  accounts_free(&accounts);
  // A reply that was cut is none, wherever it was cut.
  for (size_t length = 0; length < reply.length; length++) {
    char *exact = malloc(length == 0 ? 1 : length);
    assert_non_null(exact);
    memcpy(exact, reply.at, length);
    const struct buffer cut = {exact, length, 0};
    assert_false(accounts_from_reply(&cut, &who, NULL, &import, &accounts, &why));
    free(exact);
  }
  buffer_text(&reply, "more");
  assert_false(accounts_from_reply(&reply, &who, NULL, &import, &accounts, &why));
  struct account other = alice;
  other.uid = 1001;
  reply_of(&reply, &other);
  assert_false(accounts_from_reply(&reply, &who, NULL, &import, &accounts, &why));
  assert_int_equal(why.code, ERROR_CALLER_UNKNOWN);
  words_add_text(&import, "nobody");
  reply_of(&reply, &alice);
  assert_false(accounts_from_reply(&reply, &who, NULL, &import, &accounts, &why));
  assert_int_equal(why.code, ERROR_UDIROOT_CONF_INVALID);
  identity_free(&who);
}

// What can't be one line of its own is not written at all.
static void lines_that_cannot_be(void **state) {
  (void)state;
  static const char *const bad[] = {"a:b", "a\nroot:x:0:0::/:/bin/sh", "a\x1b", "a\r"};
  AUTO_BUFFER out = {0};
  for (size_t i = 0; i < COUNT_OF(bad); i++) {
    for (size_t field = 0; field < 4; field++) {
      struct account account = alice;
      *(char **[]){&account.name, &account.gecos, &account.home, &account.shell}[field] = (char *)bad[i];
      check(!passwd_write_line(&out, &account), bad[i]);
    }
    check(!group_write_line(&out, bad[i], 5, ""), bad[i]);
    check(!group_write_line(&out, "a", 5, bad[i]), bad[i]);
  }
  struct account nameless = alice;
  nameless.name = (char *)"";
  assert_false(passwd_write_line(&out, &nameless));
  assert_false(group_write_line(&out, "", 5, ""));
  assert_int_equal(out.length, 0);
}

static void files(void **state) {
  (void)state;
  struct identity who = {1000, 100, {0}};
  ids_add(&who.groups, 7);
  struct buffer passwd = {0}, group = {0};
  buffer_text(&passwd, "root:x:0:0::/root:/bin/sh\nalice:x:1000:100:A:/home/alice:/bin/sh\nsshd:x:22:22::/run:/bin/false\n");
  buffer_text(&group, "root:x:0:\nusers:x:100:\nmore:x:7:alice\nother:x:8:\n");
  AUTO_WORDS import = {0};
  words_add_text(&import, "sshd");
  struct accounts accounts;
  struct failure why = {0};
  assert_true(accounts_from_files(&passwd, &group, &who, NULL, &import, &accounts, &why));
  AUTO_BUFFER text = {0};
  write_group(&text, &accounts, 1);
  assert_string_equal(text.at, "users:x:100:alice\nmore:x:7:\n");
  assert_int_equal(accounts.imported[0].uid, 22);
  accounts_free(&accounts);
  words_add_text(&import, "nobody");
  assert_false(accounts_from_files(&passwd, &group, &who, NULL, &import, &accounts, &why));
  assert_int_equal(why.code, ERROR_UDIROOT_CONF_INVALID);
  who.uid = 5;
  assert_false(accounts_from_files(&passwd, &group, &who, NULL, &import, &accounts, &why));
  assert_int_equal(why.code, ERROR_CALLER_UNKNOWN);
  buffer_free(&passwd);
  buffer_free(&group);
  identity_free(&who);
}

static void homes(void **state) {
  (void)state;
  static const struct {
    const char *home;
    bool mountable;
  } rows[] = {{"/home/a", true}, {"/global/u1/a", true}, {"/", false}, {"//", false}, {"/.", false}, {"", false}, {"home", false}, {"/home/../etc", false},
              {"/usr/sbin", false}, {"/proc", false}, {"/etc", false}, {"/etcetera", true}, {"/var", false}, {"/var/lib/x", true}, {"/home/a\nb", false}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) check(home_is_mountable(rows[i].home) == rows[i].mountable, rows[i].home);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(group_filter), cmocka_unit_test(replies), cmocka_unit_test(lines_that_cannot_be),
                                     cmocka_unit_test(files), cmocka_unit_test(homes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
