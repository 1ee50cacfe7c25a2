// The odd ends of every grammar, which the vectors and cases don't have. With them each branch of native/policy is gone both ways
// (scripts/coverage.sh).
#include "tests/testing.h"

#include "limits.gen.h"
#include "payload/compose.h"
#include "policy/account.h"
#include "policy/arguments.h"
#include "policy/config.h"
#include "policy/environment.h"
#include "policy/meta.h"
#include "policy/path.h"
#include "policy/prepared.h"
#include "policy/record.h"
#include "policy/reference.h"
#include "policy/setup_arguments.h"
#include "policy/volume_map.h"

// Bytes with NUL among them.
#define BYTES(text) text, sizeof(text) - 1

static void memory(void **state) {
  (void)state;
  AUTO_FREE char *none = memory_get(0, 1);
  assert_non_null(none);
  void *grown = memory_resize(NULL, 0, 1);
  assert_non_null(grown);
  free(grown);
}

static void messages(void **state) {
  (void)state;
  struct failure why;
  AUTO_BUFFER line = {0}, longer = {0};
  while (longer.length < 2 * sizeof why.what) buffer_byte(&longer, 'x');
  assert_false(fail(&why, ERROR_USAGE, "%s", longer.at));
  assert_int_equal(strlen(why.what), sizeof why.what - 1);
  assert_string_equal(why.what + sizeof why.what - 5, "x...");
  failure_line(&why, "p", &line);
  assert_non_null(strstr(line.at, "x... See --help.\n"));
  line.length = 0;
  why.what[0] = '\0';
  failure_line(&why, "p", &line);
  assert_string_equal(line.at, "p: USAGE: . See --help.\n");
}

// What a terminal would obey is shown, and every letter stays.
static void visible(void **state) {
  (void)state;
  static const char *const same[] = {"", "a b", "\xc3\xa9", "\xe2\x82\xac", "\xc2\xa0", "\xc2\xbf", "\xe2\x80\xa7", "\xe2\x80\xaf", "\xe2\x81\xa5", "\xe2\x81\xaa",
                                     "\xff", "\x9b", "\xc2", "\xc2z", "\xe2", "\xe2\x80", "\xe2\x81", "\xe2\x80z", "\xe2\x81z", "\xe2\x79\xa8", "\xf0\x9f\x99\x82"};
  static const struct {
    const char *text, *shown;
  } rows[] = {{"a\x1b[1m", "a\\x1b[1m"}, {"\x7f\t\n", "\\x7f\\x09\\x0a"}, {"\xc2\x80", "\\xc2\\x80"}, {"a\xc2\x9b" "31m", "a\\xc2\\x9b31m"}, {"\xc2\x9f", "\\xc2\\x9f"},
              {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"}, {"x\xe2\x80\xaey", "x\\xe2\\x80\\xaey"}, {"\xe2\x81\xa6", "\\xe2\\x81\\xa6"}, {"\xe2\x81\xa9", "\\xe2\\x81\\xa9"}};
  for (size_t i = 0; i < COUNT_OF(same) + COUNT_OF(rows); i++) {
    bool kept = i < COUNT_OF(same);
    const char *text = kept ? same[i] : rows[i - COUNT_OF(same)].text;
    AUTO_BUFFER out = {0};
    buffer_text(&out, "");
    buffer_visible(&out, text);
    assert_string_equal(out.at, kept ? text : rows[i - COUNT_OF(same)].shown);
  }
}

static void references(void **state) {
  (void)state;
  static const struct {
    const char *input;
    size_t length;
    const char *canonical; // NULL: refused
  } rows[] = {{BYTES("docker:a:_x"), "docker:docker.io/library/a:_x"},
              {BYTES("docker:a:.x"), NULL},
              {BYTES("docker:a:\0"), NULL},
              {BYTES("docker:a:x\0"), NULL},
              {BYTES("docker:h_st:5/a"), NULL},
              {BYTES("docker:h.x_/a"), NULL},
              {BYTES("docker:a_"), NULL},
              {BYTES("docker:a__b/c_d"), "docker:docker.io/a__b/c_d:latest"},
              {BYTES("docker:registry-1.docker.io/a"), "docker:docker.io/library/a:latest"},
              {BYTES("docker:a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg"), NULL},
              {BYTES("docker:a@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeF"), NULL},
              {BYTES("docker:a@sha512:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"), NULL},
              {BYTES("docker://a"), NULL},
              {BYTES("docker:Http://a"), NULL},
              {BYTES("docker:https2:A//b"), NULL},
              {BYTES("docker:https:/"), NULL},
              {BYTES("docker:ftp"), "docker:docker.io/library/ftp:latest"},
              {BYTES("docker:0//"), NULL},
              {BYTES("docker:{:x"), NULL},
              {BYTES("local:/a\0"), NULL},
              {BYTES("local:/a~"), NULL},
              {BYTES("local:/_a:b.c+d@e-"), "local:/_a:b.c+d@e-"},
              {BYTES("id:\0"), NULL}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    AUTO_REFERENCE reference = {0};
    struct failure why;
    bool accepted = reference_parse(rows[i].input, rows[i].length, NULL, &reference, &why);
    check(accepted == (rows[i].canonical != NULL), rows[i].input);
    if (accepted) check(same_text(reference.canonical, rows[i].canonical), rows[i].input);
  }
}

#define RECORD "shifter-record 1\n"

static void records(void **state) {
  (void)state;
  static const struct {
    const char *text, *says;
  } rows[] = {{RECORD "i~ 1:a\nend\n", "not a field"},
              {RECORD "Id 1:a\nend\n", "not a field"},
              {RECORD "1d 1:a\nend\n", "not a field"},
              {RECORD "a:b 1:a\nend\n", "not a field"},
              {RECORD "a-1 1:a\nend\n", "unknown key a-1"},
              {RECORD "platform 9:linux/a+b\nend\n", "platform is not valid"},
              {RECORD "platform 5:linux\nend\n", "platform is not valid"},
              {RECORD "env 2:AB\nend\n", "env is not valid"},
              {RECORD "env 1:A\nend\n", "env is not valid"},
              {RECORD "env 2:=A\nend\n", "env is not valid"},
              {RECORD "profile 0:\nend\n", "profile is not valid"},
              {RECORD "profile 1:\n\nend\n", "profile is not valid"},
              {RECORD "label 1:a\nend\n", "label is not valid"},
              {RECORD "label 0:\nend\n", "label is not valid"},
              {RECORD "owner 10:4294967295\nend\n", "owner is not valid"},
              {RECORD "allow-uid 1:x\nend\n", "allow-uid is not valid"},
              {RECORD "end\n", "id is missing"}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    AUTO_RECORD record = {0};
    struct failure why = {0};
    check(!record_parse(rows[i].text, strlen(rows[i].text), &record, &why), rows[i].text);
    if (strstr(why.what, rows[i].says) == NULL) fail_row("%s: %s", rows[i].text, why.what);
  }
  struct failure why = {0};
  AUTO_RECORD record = {0};
  AUTO_NAME name = {0};
  static const char nul[] = RECORD "env 3:A=\0\nend\n", word[] = RECORD "command 1:\0\nend\n", label[] = RECORD "label 4:a\0b\0\nend\n";
  assert_false(record_parse(nul, sizeof nul - 1, &record, &why));
  assert_false(record_parse(word, sizeof word - 1, &record, &why));
  assert_false(record_parse(label, sizeof label - 1, &record, &why));
  static const char relative[] = RECORD "workdir 1:a\nend\n", cut[] = RECORD "workdir 3:/\0a\nend\n";
  assert_false(record_parse(relative, sizeof relative - 1, &record, &why));
  assert_false(record_parse(cut, sizeof cut - 1, &record, &why));
  AUTO_BUFFER large = {0};
  while (large.length <= LIMIT_NAME_BYTES) buffer_byte(&large, 'x');
  assert_false(name_parse(large.at, large.length, &name, &why));
  assert_non_null(strstr(why.what, "larger than"));
}

static void meta_lists(void **state) {
  (void)state;
  static const struct {
    const char *input;
    size_t length;
    const char *word; // of a list of one; NULL: refused
  } rows[] = {{BYTES("['\\u0041']"), "A"},       {BYTES("['\\u00e9']"), "\xc3\xa9"}, {BYTES("['\\ue000']"), "\xee\x80\x80"},
              {BYTES("['\\u0000']"), NULL},      {BYTES("['\\ud800']"), NULL},       {BYTES("['\\udfff']"), NULL},
              {BYTES("['\\uD7FF']"), "\xed\x9f\xbf"}, {BYTES("['\\u00g0']"), NULL},  {BYTES("['\\u00"), NULL},
              {BYTES("['\\x00']"), NULL},        {BYTES("['\\x4"), NULL},            {BYTES("['\\x4G']"), NULL},
              {BYTES("['\\x4@']"), NULL},        {BYTES("['\\x:0']"), NULL},         {BYTES("['\\x`0']"), NULL},
              {BYTES("['\\\0']"), NULL},         {BYTES("['\\"), NULL},              {BYTES("['a'"), NULL},
              {BYTES("['a',u"), NULL},           {BYTES("['a',]"), NULL},            {BYTES("['a'x]"), NULL}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    AUTO_WORDS words = {0};
    check(meta_words(rows[i].input, rows[i].length, &words) == (rows[i].word != NULL), rows[i].input);
    if (rows[i].word != NULL) check(words.count == 1 && same_text(words.items[0], rows[i].word), rows[i].input);
  }
}

static bool accepts_meta(const struct buffer *text) {
  AUTO_META meta = {0};
  struct failure why;
  return meta_parse(text->at, text->length, &meta, &why);
}

static void meta_sizes(void **state) {
  (void)state;
  for (size_t over = 0; over < 2; over++) {
    AUTO_BUFFER lines = {0}, list = {0}, large = {0};
    buffer_text(&lines, "FORMAT: squashfs\n");
    for (size_t i = 1; i < LIMIT_FIELD_COUNT + over; i++) buffer_text(&lines, "VOLUME: x\n");
    assert_int_equal(accepts_meta(&lines), over == 0);
    buffer_text(&list, "FORMAT: squashfs\nCMD: ['a'");
    for (size_t i = 1; i < LIMIT_FIELD_COUNT + over; i++) buffer_text(&list, ",'a'");
    buffer_text(&list, "]\n");
    assert_int_equal(accepts_meta(&list), over == 0);
    buffer_text(&large, "FORMAT: squashfs\n");
    while (large.length < LIMIT_META_BYTES + over) buffer_byte(&large, '\n');
    assert_int_equal(accepts_meta(&large), over == 0);
  }
}

static void account_lines(void **state) {
  (void)state;
  static const char *const passwd[] = {"me:x:1:2:\x01:/:/bin/sh", "me:x:1:2::/", "me:x:1:2::/::", ":x:1:2::/:", "me:x:a:2::/:", "me:x:1::::", "me:x:4294967295:2::/:"};
  for (size_t i = 0; i < COUNT_OF(passwd); i++) {
    struct account account;
    check(!passwd_parse_line(passwd[i], strlen(passwd[i]), &account), passwd[i]);
  }
  static const char *const groups[] = {"g:x:1:\x7f", "g:x:1", "g:x:1::", ":x:1:", "g:x:-1:", "g:x::"};
  for (size_t i = 0; i < COUNT_OF(groups); i++) {
    struct group_line group;
    check(!group_parse_line(groups[i], strlen(groups[i]), &group), groups[i]);
  }
}

// Lines that are no entries are passed over; of several groups all are found.
static void account_files(void **state) {
  (void)state;
  struct identity who = {1000, 100, {0}};
  for (uint32_t gid = 1; gid <= 5; gid++) ids_add(&who.groups, gid);
  struct buffer passwd = {0}, group = {0};
  AUTO_BUFFER text = {0};
  const struct words none = {0};
  buffer_text(&passwd, "# accounts\n\nroot:x:0:0::/:/bin/sh\nalice:x:1000:100::/home/alice:/bin/sh");
  buffer_text(&group, "broken\na:x:1:\nb:x:2:\n:\nc:x:3:\nd:x:4:\ne:x:5:\nf:x:6:\nusers:x:100:");
  struct accounts accounts;
  struct failure why;
  assert_true(accounts_from_files(&passwd, &group, &who, NULL, &none, &accounts, &why));
  write_group(&text, &accounts, 2);
  assert_string_equal(text.at, "a:x:1:alice\nb:x:2:alice\nc:x:3:\nd:x:4:\ne:x:5:\nusers:x:100:\n");
  accounts_free(&accounts);
  buffer_free(&passwd);
  buffer_free(&group);
  identity_free(&who);
  assert_false(home_is_mountable("/opt"));
  assert_true(home_is_mountable("/opt/a"));
}

static void paths(void **state) {
  (void)state;
  assert_false(path_has_parent("/.a", 3));
  assert_false(path_has_parent("/a.", 3));
  size_t length;
  assert_null(path_component("///", &length));
  assert_non_null(path_component("//a/b", &length));
  assert_int_equal(length, 1);
}

// Groups out of member lists, as they are asked for when a root is prepared for somebody.
static void memberships(void **state) {
  (void)state;
  const struct identity who = {1000, 100, {0}};
  struct buffer passwd = {0}, group = {0};
  AUTO_BUFFER text = {0};
  const struct words none = {0};
  buffer_text(&passwd, "twin:x:1000:7::/:/bin/sh\nalice:x:1000:100::/:/bin/sh\nbob:x:1001:100::/:/bin/sh\n");
  buffer_text(&group, "users:x:100:\na:x:1:bob,alice\nb:x:2:bob\nc:x:3:alice2\n4:x:4:alice\n");
  struct accounts accounts;
  struct failure why;
  assert_true(accounts_from_files(&passwd, &group, &who, "alice", &none, &accounts, &why));
  assert_string_equal(accounts.caller.name, "alice");
  assert_int_equal(accounts.memberships.count, 2);
  assert_int_equal(accounts.memberships.items[1], 4);
  write_group(&text, &accounts, 9);
  assert_string_equal(text.at, "users:x:100:alice\na:x:1:alice\n"); // a name that is a number is none
  accounts_free(&accounts);
  assert_true(accounts_from_files(&passwd, &group, &who, "", &none, &accounts, &why));
  assert_string_equal(accounts.caller.name, "twin");
  assert_int_equal(accounts.memberships.count, 0);
  accounts_free(&accounts);
  assert_false(accounts_from_files(&passwd, &group, &who, "bob", &none, &accounts, &why)); // another's name
  assert_int_equal(why.code, ERROR_CALLER_UNKNOWN);
  group.length = 0;
  for (size_t i = 0; i <= LIMIT_GROUP_COUNT; i++) buffer_print(&group, "g:x:%zu:alice\n", i + 5);
  assert_true(accounts_from_files(&passwd, &group, &who, "alice", &none, &accounts, &why));
  assert_int_equal(accounts.memberships.count, LIMIT_GROUP_COUNT);
  accounts_free(&accounts);
  buffer_free(&passwd);
  buffer_free(&group);
}

static enum facts take(bool is_meta, const char *text, const char *id, uint32_t uid, struct image_facts *facts, struct failure *why) {
  struct buffer content = {0};
  const struct identity who = {uid, 100, {0}};
  buffer_text(&content, text);
  facts_free(facts);
  enum facts taken = facts_take(is_meta, &content, id, &who, facts, why);
  buffer_free(&content);
  return taken;
}

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
static const char private_record[] =
    "shifter-record 1\nid 3:abc\nreference 10:docker:a/b\nsource-digest 71:sha256:" HASH "\nprofile 1:p\nplatform 11:linux/amd64\n"
    "image-size 4:4096\nimage-sha256 64:" HASH "\nentries 1:1\nowner 4:1000\naccess 7:private\nworkdir 2:/w\ncommand 1:c\nend\n";

static void facts(void **state) {
  (void)state;
  struct image_facts facts = {0};
  struct failure why = {0};
  AUTO_BUFFER record = {0};
  buffer_text(&record, private_record);
  char *reference = strstr(record.at, "10:docker:a/b\n");
  assert_non_null(reference);
  AUTO_BUFFER good = {0};
  buffer_add(&good, record.at, (size_t)(reference - record.at));
  buffer_print(&good, "24:docker:docker.io/a/b:1.0\n%s", reference + strlen("10:docker:a/b\n"));
  assert_int_equal(take(false, record.at, "abc", 1000, &facts, &why), FACTS_INVALID);
  if (take(false, good.at, "abc", 1000, &facts, &why) != FACTS_TAKEN) fail_row("%s", why.what);
  assert_true(facts.sized && facts.image_size == 4096 && same_text(facts.workdir, "/w"));
  assert_int_equal(take(false, good.at, "abd", 1000, &facts, &why), FACTS_INVALID);
  assert_int_equal(take(false, good.at, "abc", 1001, &facts, &why), FACTS_DENIED);
  assert_int_equal(take(true, "FORMAT: squashfs\nUSERACL: 1000\nCMD: x\n", "abc", 1000, &facts, &why), FACTS_TAKEN);
  assert_int_equal(facts.command.count, 1);
  assert_int_equal(take(true, "FORMAT: squashfs\nUSERACL: 1000\n", "abc", 1001, &facts, &why), FACTS_DENIED);
  assert_int_equal(take(true, "FORMAT: ext4\n", "abc", 1000, &facts, &why), FACTS_INVALID);
  facts_free(&facts);
}

// A prepared root as it could be: each field in the order of the enum.
static const char *const entry_fields[PREPARED_COUNT] = {
    [PREPARED_JOB] = "job 4:12.a\n", [PREPARED_UID] = "uid 4:1000\n", [PREPARED_GID] = "gid 3:100\n", [PREPARED_GROUPS] = "groups 5:7,100\n",
    [PREPARED_CONFIGURATION] = "configuration 64:" HASH "\n", [PREPARED_BOOT] = "boot 2:b0\n", [PREPARED_BUILD] = "build 1:b\n", [PREPARED_MODULES] = "modules 1:m\n",
    [PREPARED_VOLUMES] = "volumes 5:/a:/b\n", [PREPARED_VIEW] = "view 1:v\n", [PREPARED_IMAGE] = "image 3:abc\n", [PREPARED_RECORD] = "record 3:\n\t\x01\n",
    [PREPARED_META] = NULL, [PREPARED_NODES] = "nodes 64:" HASH "\n", [PREPARED_PIN] = "pin 31:pins/1000.0123456789abcdef.12.a\n", [PREPARED_NAMESPACE] = "namespace 3:4:5\n",
    [PREPARED_LOOP] = "loop 1:7\n", [PREPARED_FILE] = "file 3:8:9\n", [PREPARED_MADE] = "made 2:10\n"};

static void entry_text(struct buffer *out, size_t changed, const char *as, bool references) {
  out->length = 0;
  buffer_text(out, "shifter-root 2\n");
  if (references) buffer_text(out, "reference 6:id:abc\nreference 6:id:abd\n");
  for (size_t i = 0; i < PREPARED_COUNT; i++) {
    const char *text = i == changed ? as : entry_fields[i];
    if (text != NULL) buffer_text(out, text);
  }
  buffer_text(out, "end\n");
}

static void entries(void **state) {
  (void)state;
  static const struct {
    size_t field;
    const char *as;
    bool accept;
  } rows[] = {{PREPARED_COUNT, NULL, true},
              {PREPARED_MODULES, NULL, true},
              {PREPARED_RECORD, NULL, false},
              {PREPARED_META, "meta 1:x\n", false},
              {PREPARED_PIN, NULL, false},
              {PREPARED_JOB, "job 0:\n", false},
              {PREPARED_JOB, "job 2:..\n", false},
              {PREPARED_GROUPS, "groups 1:\x01\n", false},
              {PREPARED_CONFIGURATION, "configuration 1:a\n", false},
              {PREPARED_IMAGE, "image 3:a/b\n", false},
              {PREPARED_BOOT, NULL, false},
              {PREPARED_BOOT, "boot 1:\x01\n", false},
              {PREPARED_PIN, "pin 9:pins/1000\n", false},
              {PREPARED_PIN, "pin 33:pins.2/1000.0123456789abcdef.12.a\n", true},
              {PREPARED_PIN, "pin 32:pins./1000.0123456789abcdef.12.a\n", false},
              {PREPARED_PIN, "pin 33:pins-2/1000.0123456789abcdef.12.a\n", false},
              {PREPARED_PIN, "pin 33:pins.x/1000.0123456789abcdef.12.a\n", false},
              {PREPARED_PIN, "pin 26:1000.0123456789abcdef.12.a\n", false},
              {PREPARED_PIN, "pin 31:pins/x000.0123456789abcdef.12.a\n", false},
              {PREPARED_PIN, "pin 30:pins/1000.0123456789abcde.12.a\n", false},
              {PREPARED_PIN, "pin 32:pins/1000.0123456789abcdef0.12.a\n", false},
              {PREPARED_PIN, "pin 31:pins/1000.0123456789abcdefx12.a\n", false},
              {PREPARED_PIN, "pin 27:pins/1000.0123456789abcdef.\n", false},
              {PREPARED_NAMESPACE, "namespace 0:\n", false},
              {PREPARED_NAMESPACE, "namespace 2:45\n", false},
              {PREPARED_NAMESPACE, "namespace 2:4:\n", false},
              {PREPARED_NAMESPACE, "namespace 2::4\n", false},
              {PREPARED_LOOP, "loop 2:-1\n", false}};
  AUTO_BUFFER text = {0}, written = {0};
  struct failure why;
  struct prepared entry;
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    entry_text(&text, rows[i].field, rows[i].as, true);
    check(prepared_parse(text.at, text.length, &entry, &why) == rows[i].accept, rows[i].as == NULL ? "(left out)" : rows[i].as);
    if (!rows[i].accept) continue;
    written.length = 0;
    prepared_write(&entry, &written);
    check(same_text(written.at, text.at), "written as it was read");
    prepared_free(&entry);
  }
  entry_text(&text, PREPARED_COUNT, NULL, false);
  assert_false(prepared_parse(text.at, text.length, &entry, &why));
  static const char job_nul[] = "shifter-root 2\njob 2:a\0\nend\n", pin_nul[] = "shifter-root 2\npin 32:pins/1000.0123456789abcdef.12.a\0\nend\n";
  assert_false(prepared_parse(job_nul, sizeof job_nul - 1, &entry, &why));
  assert_false(prepared_parse(pin_nul, sizeof pin_nul - 1, &entry, &why));
}

static void entry_values(void **state) {
  (void)state;
  AUTO_BUFFER text = {0}, groups = {0}, pin = {0};
  struct failure why;
  AUTO_PREPARED entry = {0};
  AUTO_PREPARED other = {0};
  entry_text(&text, PREPARED_COUNT, NULL, true);
  assert_true(prepared_parse(text.at, text.length, &entry, &why));
  assert_true(prepared_parse(text.at, text.length, &other, &why));
  assert_true(prepared_same(&entry, &other, PREPARED_JOB, PREPARED_MADE));
  other.fields[PREPARED_BUILD].at[0] = 'c';
  assert_false(prepared_same(&entry, &other, PREPARED_JOB, PREPARED_MADE));
  assert_true(prepared_same(&entry, &other, PREPARED_MODULES, PREPARED_META));
  buffer_text(&other.fields[PREPARED_VIEW], "more");
  assert_false(prepared_same(&entry, &other, PREPARED_MODULES, PREPARED_META));
  assert_string_equal(prepared_text(&entry, PREPARED_META), "");
  assert_string_equal(prepared_text(&entry, PREPARED_VOLUMES), "/a:/b");
  assert_int_equal(prepared_number(&entry, PREPARED_LOOP), 7);
  assert_int_equal(prepared_number(&entry, PREPARED_PIN), 0);
  char one[SHA256_HEX], same[SHA256_HEX], another[SHA256_HEX];
  prepared_key(&entry, one);
  buffer_text(&entry.fields[PREPARED_MADE], "0"); // not what it was made from
  prepared_key(&entry, same);
  prepared_key(&other, another);
  assert_string_equal(one, same);
  assert_string_not_equal(one, another);

  const struct ids none = {0}, some = {(uint32_t[]){100, 9, 7, 9}, 4, 4};
  prepared_groups(100, &some, &groups);
  assert_string_equal(groups.at, "7,9,100");
  groups.length = 0;
  prepared_groups(5, &none, &groups);
  assert_string_equal(groups.at, "5");

  pin_place(0, &pin);
  buffer_byte(&pin, ' ');
  pin_place(7, &pin);
  assert_string_equal(pin.at, "pins pins.7");
  pin.length = 0;
  pin_name("1000", 0x1234, "12.a", &pin);
  assert_true(pin_is_of(pin.at, "1000", "12.a"));
  assert_true(pin_is_of(pin.at, NULL, "12.a"));
  assert_false(pin_is_of(pin.at, "100", "12.a"));
  assert_false(pin_is_of(pin.at, NULL, "12"));
  assert_false(pin_is_of("1000", NULL, "12"));
}

// Two volumes whose texts would be those of two others, were a ';' not told from the end of an element.
static void signatures(void **state) {
  (void)state;
  static const char *const maps[] = {"\"/p:/q;/x\";/a:/b", "/p:/q;\"/x;/a:/b\""};
  struct buffer text[2] = {{0}, {0}};
  for (size_t i = 0; i < 2; i++) {
    struct volume_map map = {0};
    AUTO_BUFFER what = {0};
    assert_true(volume_map_add_user(&map, maps[i], &what));
    assert_int_equal(map.count, 2);
    volume_map_signature(&map, &text[i]);
    volume_map_free(&map);
  }
  assert_string_not_equal(text[0].at, text[1].at);
  assert_string_equal(text[0].at, "\"/p:/q;/x\";/a:/b");
  for (size_t i = 0; i < 2; i++) buffer_free(&text[i]);
}

// What is there twice counts once; two volumes on one place are a mistake, and nothing is lost with it.
static void settled(void **state) {
  (void)state;
  static const struct {
    const char *text, *signature; // NULL: refused
  } rows[] = {{"", ""}, {"/x:/b;/x:/a;/x:/b", "/x:/a;/x:/b"}, {"/x:/b;/y:/a;/x:/c;/z:/b;/x:/d", NULL}, {"/x:/a;/x:/a:ro", NULL}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    struct volume_map map = {0};
    AUTO_BUFFER what = {0}, signature = {0};
    buffer_text(&signature, "");
    assert_true(volume_map_add_user(&map, rows[i].text, &what));
    check(volume_map_settle(&map, &what) == (rows[i].signature != NULL), rows[i].text);
    volume_map_signature(&map, &signature);
    if (rows[i].signature != NULL) check(same_text(signature.at, rows[i].signature), rows[i].text);
    volume_map_free(&map);
  }
}

static void job_names(void **state) {
  (void)state;
  static char *const environment[] = {(char *)"SHIFTER_JOB_ID=12", (char *)"SLURM_JOB_ID=../x", (char *)"PBS_JOBID=12", NULL};
  static char *const node[] = {(char *)"SLURM_JOB_ID=node", (char *)"PBS_JOBID=7[].server", NULL};
  AUTO_WORDS jobs = {0}, more = {0};
  job_hints(environment, &jobs);
  assert_int_equal(jobs.count, 2);
  assert_string_equal(jobs.items[0], "12");
  assert_string_equal(jobs.items[1], "node");
  job_hints(node, &more);
  assert_int_equal(more.count, 2);
}

#define ARGV(...) ((char *[]){"shifter", __VA_ARGS__, NULL})

static bool parse_words(char **argv, struct arguments *arguments) {
  int argc = 0;
  struct failure why;
  while (argv[argc] != NULL) argc++;
  bool parsed = arguments_parse(argc, argv, arguments, &why);
  arguments_free(arguments);
  return parsed;
}

static void command_lines(void **state) {
  (void)state;
  struct arguments a;
  struct failure why;
  assert_true(parse_words(ARGV("--help"), &a));
  assert_int_equal(a.mode, MODE_HELP);
  assert_true(parse_words(ARGV("--version"), &a));
  assert_int_equal(a.mode, MODE_VERSION);
  assert_true(parse_words(ARGV("--verbose", "--writable", "--explain", "-n", "-E", "--env-file=f", "ls"), &a));
  assert_true(a.verbose && a.writable && a.explain && a.clear_environment);
  assert_true(parse_words(ARGV("-w", "ls", "x"), &a));
  assert_true(parse_words(ARGV("-", "x"), &a));
  assert_string_equal(a.command[0], "-");
  assert_false(parse_words(ARGV("-\x01"), &a));
  // The kernel's count is not trusted beyond the NULL that ends the words.
  assert_true(arguments_parse(3, (char *[]){"shifter", NULL, "--nope", NULL}, &a, &why));
  assert_false(arguments_parse(3, (char *[]){"shifter", "--image", NULL, NULL}, &a, &why));
  struct setup_arguments setup;
  assert_true(setup_arguments_parse(8, (char *[]){"setupRoot", "-V", "-U", "5", "-G", "6", "id", "x", NULL}, &setup, &why));
  assert_true(setup.verbose);
  setup_arguments_free(&setup);
}

static void asked_by_variables(void **state) {
  (void)state;
  struct arguments a = {0};
  struct failure why;
  AUTO_FREE char *request = NULL;
  static char *const both[] = {(char *)"SHIFTER_IMAGEREQUEST=docker:b", (char *)"SHIFTER_IMAGETYPE=id", NULL};
  static char *const empty[] = {(char *)"SHIFTER_IMAGEREQUEST=", (char *)"SLURM_SPANK_SHIFTER_IMAGEREQUEST=", NULL};
  assert_false(arguments_image(&a, both, &request, &why));
  assert_false(arguments_image(&a, empty, &request, &why));
  assert_false(arguments_image(&a, NULL, &request, &why));
  a.image = "";
  assert_true(arguments_image(&a, NULL, &request, &why));
  assert_string_equal(request, "");
}

static void sizes(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t largest, bytes; // 0: refused
  } rows[] = {{"5", 3, 0},   {"15", 9, 0},       {"1k", 1023, 0},          {"1k", 1024, 1024},      {"1.5k", 1535, 0},           {"1.5k", 1536, 1536},
              {"1ki", 9999, 0}, {"1kB", 9999, 1024}, {"1kiB", 9999, 1024}, {"1kx", 9999, 0},     {"1kxB", 9999, 0},           {"0x1f", 99, 31},
              {"0xg", 99, 0}, {"1.", 9, 1},       {".5k", 9999, 512},       {".", 9, 0},             {"17E", UINT64_C(1) << 63, 0}, {"0.999E", UINT64_MAX, UINT64_C(1151768583102240129)},
              {"0.017E", UINT64_MAX, UINT64_C(19599665578316398)}, {"", 9, 0}, {"b", 9, 0}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    uint64_t bytes = 0;
    bool parsed = bytes_parse(rows[i].text, strlen(rows[i].text), rows[i].largest, &bytes);
    check(parsed == (rows[i].bytes != 0), rows[i].text);
    if (parsed && bytes != rows[i].bytes) fail_row("%s: %llu", rows[i].text, (unsigned long long)bytes);
  }
}

static void configurations(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool accept;
  } rows[] = {{"siteEnvAppend=A=1\nsiteEnvPrepend=B=2\nsiteEnvUnset=A B\n", true},
              {"siteEnvAppend=A\n", false},
              {"siteFs=/a\nsiteFs=\n", true},
              {"sitePostMountHook=/a\nrootfsType=tmpfs\n", true},
              {"siteEnvPrepend=A\n", false},
              {"siteEnvUnset=A=1\n", false},
              {"module_a_enabled=1\nmodule_a_siteEnv=A=1\nmodule_b_enabled=1\n", true},
              {"module_a\n", true},
              {"module_a=1\n", true},
              {"module__enabled=1\n", true},
              {"sys\x01tem=a\n", false},
              {"system=a\x01\n", false},
              {"system=a\x7f\n", false},
              {"system=a\tb\n", true},
              {"system=a\\", true},
              {"nonsense=a\\", false},
              {"# nothing\nno setting\n", true}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    struct config config = {0};
    struct failure why;
    bool accepted = config_parse(&config, UDIROOT_CONF, rows[i].text, strlen(rows[i].text), "f", &why) && config_finish(&config, true, "f", &why);
    check(accepted == rows[i].accept, rows[i].text);
    config_free(&config);
  }
}

static void variables(void **state) {
  (void)state;
  assert_null(environment_value(NULL, "A"));
  AUTO_WORDS environment = {0}, settings = {0};
  struct failure why;
  environment_import(&environment, NULL);
  environment_put(&environment, "A=1");
  environment_unset(&environment, "B");
  assert_int_equal(environment.count, 1);
  environment_unset(&environment, "A");
  assert_int_equal(environment.count, 0);
  assert_true(environment_parse_file(&settings, "", 0, "f", &why));
  assert_true(environment_parse_file(&settings, "\r\n \r A=1", 8, "f", &why));
  assert_int_equal(settings.count, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(memory),     cmocka_unit_test(messages), cmocka_unit_test(visible),      cmocka_unit_test(references),
                                     cmocka_unit_test(records),    cmocka_unit_test(meta_lists),    cmocka_unit_test(meta_sizes),
                                     cmocka_unit_test(account_lines), cmocka_unit_test(account_files), cmocka_unit_test(paths),      cmocka_unit_test(memberships),   cmocka_unit_test(facts),
                                     cmocka_unit_test(entries),    cmocka_unit_test(entry_values),  cmocka_unit_test(job_names),
                                     cmocka_unit_test(signatures), cmocka_unit_test(settled),
                                     cmocka_unit_test(command_lines), cmocka_unit_test(asked_by_variables), cmocka_unit_test(sizes),
                                     cmocka_unit_test(configurations), cmocka_unit_test(variables)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
