// The command lines of setupRoot and unsetupRoot, and what the tables of all programs say.
#include "tests/testing.h"

#include "limits.gen.h"
#include "policy/setup_arguments.h"

#define USER "-U", "1000", "-G", "100"
#define ARGV(...) ((char *[]){"program", __VA_ARGS__, NULL})

static int count_of(char **argv) {
  int argc = 0;
  while (argv[argc] != NULL) argc++;
  return argc;
}

static bool setup(char **argv, struct setup_arguments *out, struct failure *why) {
  return setup_arguments_parse(count_of(argv), argv, out, why);
}

static bool unsetup(char **argv, struct unsetup_arguments *out, struct failure *why) {
  return unsetup_arguments_parse(count_of(argv), argv, out, why);
}

// As the reference's plugin calls it.
static void like_the_reference(void **state) {
  (void)state;
  struct setup_arguments a;
  struct failure why = {0};
  assert_true(setup(ARGV("-V", "-U", "1000", "-G", "100", "-u", "canon", "-N", "n1/2 n2/1", "-v", "/a:/b", "-v/c:/d:ro", "-m", "mpich,gpu", "docker", "4f6a"), &a, &why));
  assert_int_equal(a.mode, MODE_RUN);
  assert_int_equal(a.uid, 1000);
  assert_int_equal(a.gid, 100);
  assert_true(a.verbose);
  assert_string_equal(a.user, "canon");
  assert_string_equal(a.volumes, "/a:/b;/c:/d:ro");
  assert_string_equal(a.modules, "mpich,gpu");
  assert_string_equal(a.hostsfile.at, "n1\nn1\nn2\n");
  assert_string_equal(a.type, "docker");
  assert_string_equal(a.id, "4f6a");
  assert_string_equal(a.job, "node");
  assert_null(a.run_directory);
  assert_int_equal(a.report, -1);
  setup_arguments_free(&a);
}

static void setup_words(void **state) {
  (void)state;
  struct setup_arguments a;
  struct failure why = {0};
  assert_true(setup(ARGV("--uid=7", "--gid", "8", "--job=12[3].pbs@host-1_x", "--run-directory=/run/a", "--report-fd=9", "local", "/tree"), &a, &why));
  assert_string_equal(a.job, "12[3].pbs@host-1_x");
  assert_string_equal(a.run_directory, "/run/a");
  assert_int_equal(a.report, 9);
  assert_null(a.hostsfile.at);
  assert_true(setup(ARGV(USER, "--resolve=docker:debian:12"), &a, &why));
  assert_int_equal(a.mode, MODE_RESOLVE);
  assert_string_equal(a.image, "docker:debian:12");
  assert_true(setup(ARGV("-h"), &a, &why));
  assert_int_equal(a.mode, MODE_HELP);
  assert_true(setup(ARGV("--version"), &a, &why));
  assert_int_equal(a.mode, MODE_VERSION);
  assert_true(setup(ARGV(USER, "--", "docker", "-x"), &a, &why));
  assert_string_equal(a.id, "-x");
}

// The reference system's ids: 64 hexadecimal digits, whatever the type of the image is.
static void operands(void **state) {
  (void)state;
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  static const struct {
    const char *type, *id, *meant;
  } rows[] = {{"docker", HASH, "id"},     {"custom", HASH, "id"},      {"id", HASH, "id"},     {"local", HASH, "local"}, {"docker", HASH "0", "docker"},
              {"docker", "a", "docker"}, {"docker", "0123ABCD", "docker"}, {"custom", "a", "custom"}, {"docker", "a@sha256:" HASH, "docker"}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    struct setup_arguments a;
    struct failure why = {0};
    check(setup(ARGV(USER, (char *)rows[i].type, (char *)rows[i].id), &a, &why), rows[i].id);
    assert_string_equal(a.type, rows[i].meant);
    assert_string_equal(a.id, rows[i].id);
    setup_arguments_free(&a);
  }
}

static void setup_refused(void **state) {
  (void)state;
  static const struct {
    const char *words[8];
    enum error_code code;
    const char *says;
  } rows[] = {{{"-U", "x", "-G", "1", "docker", "a"}, ERROR_USAGE, "--uid 'x'"},
              {{"-U", "0", "-G", "1", "docker", "a"}, ERROR_USAGE, "--uid 0"},
              {{"-U", "1", "-G", "0", "docker", "a"}, ERROR_USAGE, "--gid 0"},
              {{"-U", "01", "-G", "1", "docker", "a"}, ERROR_USAGE, "--uid '01'"},
              {{"-U", "-1", "-G", "1", "docker", "a"}, ERROR_USAGE, "--uid '-1'"},
              {{"-U", "4294967295", "-G", "1", "docker", "a"}, ERROR_USAGE, "--uid '4294967295'"},
              {{"-G", "1", "docker", "a"}, ERROR_USAGE, "--uid and --gid"},
              {{"-U", "1", "-G", "1", "--uid=2", "docker", "a"}, ERROR_USAGE, "--uid is there twice"},
              {{"-U", "1", "-G", "1", "-G2", "docker", "a"}, ERROR_USAGE, "--gid is there twice"},
              {{"-U", "1", "docker", "a"}, ERROR_USAGE, "--uid and --gid"},
              {{USER, "docker"}, ERROR_USAGE, "there are 1 operands"},
              {{USER, "docker", "a", "b"}, ERROR_USAGE, "there are 3 operands"},
              {{USER, "Docker", "a"}, ERROR_USAGE, "'Docker' is no type of image"},
              {{USER, "", "a"}, ERROR_USAGE, "'' is no type of image"},
              {{USER, "registry.example:5000/a", "b"}, ERROR_USAGE, "is no type of image"},
              {{USER, "--resolve=a", "b"}, ERROR_USAGE, "--resolve takes no operand"},
              {{USER, "-u", "", "docker", "a"}, ERROR_USAGE, "--user= is empty"},
              {{USER, "--run-directory=", "docker", "a"}, ERROR_USAGE, "--run-directory= is empty"},
              {{USER, "--report-fd=1", "docker", "a"}, ERROR_USAGE, "--report-fd '1'"},
              {{USER, "-s", "ssh-rsa AAAA"}, ERROR_OPTION_UNAVAILABLE, "-s is not offered: no sshd"},
              {{USER, "--ssh-key=x"}, ERROR_OPTION_UNAVAILABLE, "--ssh-key is not offered: no sshd"},
              {{USER, "--ccm"}, ERROR_OPTION_UNAVAILABLE, "--ccm is not offered: Cray"},
              {{USER, "--memory-cgroup"}, ERROR_OPTION_UNAVAILABLE, "--memory-cgroup is not offered: limits of memory"},
              {{USER, "--memory-cgroup=/x"}, ERROR_OPTION_UNAVAILABLE, "--memory-cgroup is not offered: limits of memory"}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    const char *const *w = rows[i].words;
    char *argv[] = {(char *)"setupRoot", (char *)w[0], (char *)w[1], (char *)w[2], (char *)w[3], (char *)w[4], (char *)w[5], (char *)w[6], (char *)w[7], NULL};
    struct setup_arguments a;
    struct failure why = {0};
    check(!setup(argv, &a, &why), rows[i].says);
    check(why.code == rows[i].code, rows[i].says);
    if (strstr(why.what, rows[i].says) == NULL) fail_row("%s: %s", rows[i].says, why.what);
    setup_arguments_free(&a);
  }
}

static void nodes(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(hosts_cases); i++) {
    struct setup_arguments a;
    struct failure why = {0};
    bool parsed = setup(ARGV(USER, "-N", (char *)hosts_cases[i].spec, "docker", "a"), &a, &why);
    check(parsed == (hosts_cases[i].lines != NULL), hosts_cases[i].spec);
    if (parsed) assert_string_equal(a.hostsfile.at, hosts_cases[i].lines);
    setup_arguments_free(&a);
  }
  static const char *const bad[] = {"/2", "a/", "a/2/3", "a\n/2", "a/2\n", "a/-1", "a;b/2", "a/99999999999999999999", " ", "a/1 b/16777216"};
  for (size_t i = 0; i < COUNT_OF(bad); i++) {
    struct setup_arguments a;
    struct failure why = {0};
    check(!setup(ARGV(USER, "-N", (char *)bad[i], "docker", "a"), &a, &why), bad[i]);
    check(why.code == ERROR_USAGE, bad[i]);
    setup_arguments_free(&a);
  }
}

static void jobs(void **state) {
  (void)state;
  char longest[130] = {0};
  memset(longest, 'a', 128);
  static const char *const good[] = {"1", "123[].server", "a.b_c@d-e", "...", "-"};
  static const char *const bad[] = {"", ".", "..", "a/b", "a b", "a\n", "\xc3\xa9", "a:b", "../x"};
  for (size_t i = 0; i < COUNT_OF(good); i++) check(job_is_valid(good[i]), good[i]);
  for (size_t i = 0; i < COUNT_OF(bad); i++) check(!job_is_valid(bad[i]), bad[i]);
  assert_true(job_is_valid(longest));
  longest[128] = 'a';
  assert_false(job_is_valid(longest));
  struct setup_arguments a;
  struct failure why = {0};
  assert_false(setup(ARGV(USER, "--job=a/b", "docker", "a"), &a, &why));
  assert_string_equal(why.what, "--job 'a/b' is not 1 to 128 of A-Z a-z 0-9 . _ @ [ ] -");
}

static void unsetup_words(void **state) {
  (void)state;
  struct unsetup_arguments a;
  struct failure why = {0};
  assert_true(unsetup(ARGV(NULL), &a, &why)); // as the reference's epilogue calls it
  assert_int_equal(a.mode, MODE_RUN);
  assert_string_equal(a.job, "node");
  assert_false(a.has_job || a.has_uid);
  assert_true(unsetup(ARGV("--job", "12", "-U", "5", "--run-directory=/r", "--report-fd=4"), &a, &why));
  assert_true(a.has_job && a.has_uid);
  assert_string_equal(a.job, "12");
  assert_int_equal(a.uid, 5);
  assert_string_equal(a.run_directory, "/r");
  assert_int_equal(a.report, 4);
  assert_true(unsetup(ARGV("--list"), &a, &why));
  assert_int_equal(a.mode, MODE_LIST);
  assert_true(unsetup(ARGV("--help"), &a, &why));
  assert_int_equal(a.mode, MODE_HELP);
  assert_true(unsetup(ARGV("--version"), &a, &why));
  assert_int_equal(a.mode, MODE_VERSION);
  static char *const bad[] = {(char *)"12", (char *)"--job=a/b", (char *)"--uid=0", (char *)"--uid=x", (char *)"--nope", (char *)"--run-directory="};
  for (size_t i = 0; i < COUNT_OF(bad); i++) {
    check(!unsetup(ARGV(bad[i]), &a, &why), bad[i]);
    check(why.code == ERROR_USAGE, bad[i]);
  }
}

// Every option of a table is told in its program's help, and none has a name or a letter of another.
static void tables(void **state) {
  (void)state;
  static const struct option_table *const all[] = {&shifter_options, &setup_root_options, &unsetup_root_options, &shifter_check_options};
  for (size_t i = 0; i < COUNT_OF(all); i++) {
    for (size_t j = 0; j < all[i]->count; j++) {
      const struct option *one = &all[i]->options[j];
      for (size_t k = 0; k < j; k++) {
        const struct option *other = &all[i]->options[k];
        check(one->name == NULL || !same_text(one->name, other->name), one->name);
        check(one->letter == 0 || one->letter != other->letter, one->name);
      }
    }
    assert_true(strncmp(all[i]->help, all[i]->program, strlen(all[i]->program)) == 0);
    assert_non_null(strstr(all[i]->help, "--version"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(like_the_reference), cmocka_unit_test(setup_words), cmocka_unit_test(operands), cmocka_unit_test(setup_refused),
                                     cmocka_unit_test(nodes),              cmocka_unit_test(jobs),        cmocka_unit_test(unsetup_words),
                                     cmocka_unit_test(tables)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
