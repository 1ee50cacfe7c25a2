// udiRoot.conf, runtime.conf and site volume maps.
#include "tests/testing.h"

#include "limits.gen.h"
#include "policy/config.h"

static bool parse(const char *text, size_t length, bool lenient, struct config *config, struct failure *why) {
  *config = (struct config){0};
  if (config_parse(config, UDIROOT_CONF, text, length, "f", why) && config_finish(config, lenient, "f", why)) return true;
  config_free(config);
  return false;
}

static bool parse_added(const char *added, struct config *config, struct failure *why) {
  AUTO_BUFFER text = {0};
  buffer_print(&text, "%s%s", conf_base, added);
  return parse(text.at, text.length, false, config, why);
}

static void rows(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(conf_cases); i++) {
    struct config config;
    struct failure why = {0};
    bool accepted = parse(conf_cases[i].text, strlen(conf_cases[i].text), !conf_cases[i].full, &config, &why);
    if (accepted != conf_cases[i].accept) fail_row("%s: %s", conf_cases[i].name, why.what);
    if (accepted)
      config_free(&config);
    else
      check(why.code == ERROR_UDIROOT_CONF_INVALID, conf_cases[i].name);
  }
}

static void values(void **state) {
  (void)state;
  struct config config;
  struct failure why = {0};
  assert_true(parse_added("system = one\nsystem=two\nsiteFs=/home;/a:/b:ro\nsiteFs=/c\nsiteEnv=A=1 \\\n# c\n\t B=2\nmaxGroupCount=31\n"
                          "udiMount=/var//udi/\nperNodeCacheSizeLimit=4T\nusersToImport=sshd  nobody\nkmodBasePath=/x\n", &config, &why));
  assert_string_equal(config.udiroot[UDIROOT_SYSTEM].text, "two");
  assert_int_equal(config.udiroot[UDIROOT_SITE_FS].volumes.count, 3);
  assert_int_equal(config.udiroot[UDIROOT_SITE_ENV].words.count, 2);
  assert_string_equal(config.udiroot[UDIROOT_SITE_ENV].words.items[1], "B=2");
  assert_int_equal(config.udiroot[UDIROOT_MAX_GROUP_COUNT].number, 31);
  assert_string_equal(config.udiroot[UDIROOT_UDI_MOUNT].text, "/var/udi");
  assert_int_equal(config.udiroot[UDIROOT_PER_NODE_CACHE_SIZE_LIMIT].number, 4398046511104);
  assert_int_equal(config.udiroot[UDIROOT_USERS_TO_IMPORT].words.count, 2);
  assert_string_equal(config.udiroot[UDIROOT_DEFAULT_IMAGE_TYPE].text, "docker");
  assert_int_equal(config.udiroot[UDIROOT_ALLOW_LOCAL_CHROOT].number, 0);
  assert_int_equal(config.runtime[RUNTIME_MOUNT_HOME].number, 1);
  assert_int_equal(config.warnings.count, 1);
  config_free(&config);
}

// The reference parses such a last line twice and refuses the file.
static void continued_last_line(void **state) {
  (void)state;
  struct config config;
  struct failure why = {0};
  assert_true(parse_added("siteEnv=A=1 \\\n B=2 \\", &config, &why));
  assert_int_equal(config.udiroot[UDIROOT_SITE_ENV].words.count, 2);
  config_free(&config);
}

static void refused(void **state) {
  (void)state;
  static const char *const added[] = {
      "system=a\r\n", "allowLocalChroot=yes\n", "allowLocalChroot=2\n", "maxGroupCount=-1\n", "maxGroupCount=99999999999\n", "udiMount=relative\n",
      "udiMount=/a/../b\n", "udiMount=/a\tb\n", "udiMount=/a:b\n", "udiMount=/a,b\n", "udiMount=/a\\b\n", "udiMount=/\n", "rootfsType=ext4\n", "siteEnv=A\n",
      "siteEnv=A=\n", "siteEnvUnset=A=b\n", "siteFs=/a:b\n", "siteFs=/none:/x:perNodeCache=size=1Q\n", "perNodeCacheSizeLimit=1Q\n",
      "defaultModules=none\n", "module_a_enabled=1\ndefaultModules=a,a\n", "module_a_enabled=0\ndefaultModules=a\n", "module_a_siteEnv=A\n", "cpPath=\n", "siteenv=A=1\n", "=x\n", "imageOwner=0\n"};
  for (size_t i = 0; i < COUNT_OF(added); i++) {
    struct config config;
    struct failure why = {0};
    bool accepted = parse_added(added[i], &config, &why);
    if (accepted) config_free(&config);
    check(!accepted, added[i]);
    check(why.code == ERROR_UDIROOT_CONF_INVALID, added[i]);
  }
  struct config config;
  struct failure why = {0};
  assert_false(parse("a=b\0c", 5, true, &config, &why));
  assert_true(parse("", 0, true, &config, &why));
  config_free(&config);
}

static void names_the_line(void **state) {
  (void)state;
  struct config config;
  struct failure why = {0};
  assert_false(parse("system=a\n# c\n\nfoo=bar\n", 22, true, &config, &why));
  assert_non_null(strstr(why.what, "f:4:"));
}

static void says_what_is_allowed(void **state) {
  (void)state;
  struct config config;
  struct failure why = {0};
  assert_false(parse_added("mountPropagationStyle=shared\n", &config, &why));
  assert_non_null(strstr(why.what, "mountPropagationStyle is none of private, slave"));
  assert_false(parse("=x\n", 3, true, &config, &why));
  assert_string_equal(why.what, "f:1: the line has no key before the '='");
}

// A name that no command line can say, or that is no name of a directory, makes no module.
static void names_of_modules(void **state) {
  (void)state;
  static const char *const not_names[] = {"none", ".", "..", "a/b", "/", "a,b", "a b", ""};
  static const char *const names[] = {"a", "None", "nones", "...", ".a", "A-1.2+x", "gr\xc3\xbc\xc3\x9f" "e", "a;b"};
  for (size_t i = 0; i < COUNT_OF(not_names) + COUNT_OF(names); i++) {
    bool good = i >= COUNT_OF(not_names);
    const char *name = good ? names[i - COUNT_OF(not_names)] : not_names[i];
    struct config config;
    struct failure why = {0};
    AUTO_BUFFER text = {0};
    buffer_print(&text, "module_%s_siteEnv=A=1\n", name);
    check(parse_added(text.at, &config, &why), name);
    check(config.module_count == (good ? 1 : 0), name);
    check(config.warnings.count == (good ? 0 : 1), name);
    config_free(&config);
  }
}

// The reference system passes over such a line; what it may have meant is lost, which its administrator is told.
static void lines_without_a_value(void **state) {
  (void)state;
  struct config config;
  struct failure why = {0};
  assert_true(parse("\n  \n# c\nsiteFs /home\nsystem=a\n", 30, true, &config, &why));
  assert_int_equal(config.warnings.count, 1);
  assert_string_equal(config.warnings.items[0], "f:4: the line has no '=' and says nothing");
  config_free(&config);
}

static void paths(void **state) {
  (void)state;
  static const char text[] = "runDirectory=/run//a/ /run/b\n";
  struct config config = {0};
  struct failure why = {0};
  assert_true(config_finish(&config, true, "f", &why));
  assert_int_equal(config.runtime[RUNTIME_RUN_DIRECTORY].words.count, 1);
  assert_string_equal(config.runtime[RUNTIME_RUN_DIRECTORY].words.items[0], "/run/shifter");
  config_free(&config);
  assert_true(config_parse(&config, RUNTIME_CONF, text, sizeof text - 1, "r", &why));
  assert_int_equal(config.runtime[RUNTIME_RUN_DIRECTORY].words.count, 2);
  assert_string_equal(config.runtime[RUNTIME_RUN_DIRECTORY].words.items[0], "/run/a");
  assert_string_equal(config.runtime[RUNTIME_RUN_DIRECTORY].words.items[1], "/run/b");
  config_free(&config);
}

static void sizes(void **state) {
  (void)state;
  AUTO_BUFFER text = {0};
  struct config config;
  struct failure why = {0};
  buffer_text(&text, "system=");
  while (text.length < LIMIT_CONFIG_LINE_BYTES) buffer_byte(&text, 'x');
  assert_true(parse(text.at, text.length, true, &config, &why));
  config_free(&config);
  buffer_byte(&text, 'x');
  assert_false(parse(text.at, text.length, true, &config, &why));
  text.length = 0;
  while (text.length <= LIMIT_CONFIG_BYTES) buffer_byte(&text, '\n');
  assert_false(parse(text.at, text.length, true, &config, &why));
}

static void runtime(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool accept;
  } cases[] = {{"imageOwner=990\nverifyImage=prepare\nmountHome=0\n", true}, {"imageOwner=root\n", false}, {"imageOwner=4294967295\n", false},
               {"imageOwner=-1\n", false}, {"verifyImage=always\n", false}, {"runDirectory=/run/a  /run/b\n", true}, {"runDirectory=/run/a b\n", false}, {"runDirectory=/a/../b\n", false},
               {"writableSize=4G\n", true}, {"writableSize=much\n", false}, {"writableSize=0\n", false}, {"writableSize=0x0K\n", false}, {"writableSize=1\n", true}, {"writableSize=\n", true},
               {"mkfsUser=0\n", false}, {"mkfsUser=1\n", true}, {"mountHome=0\n", true}, {"imageOwner=0\n", true}, {" = x\n", false}, {"mkfsUser=nobody\n", false}, {"system=a\n", false}, {"verifyImage prepare\n", false}, {"# c\n \n\nmountHome=0\n", true}, {"module_a_siteEnv=A=1\n", false}, {"", true}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct config config = {0};
    struct failure why = {0};
    bool accepted = config_parse(&config, RUNTIME_CONF, cases[i].text, strlen(cases[i].text), "r", &why);
    check(accepted == cases[i].accept, cases[i].text);
    config_free(&config);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(rows),    cmocka_unit_test(values),  cmocka_unit_test(continued_last_line),
                                     cmocka_unit_test(paths), cmocka_unit_test(lines_without_a_value),
                                     cmocka_unit_test(refused), cmocka_unit_test(names_the_line), cmocka_unit_test(says_what_is_allowed), cmocka_unit_test(names_of_modules), cmocka_unit_test(sizes),
                                     cmocka_unit_test(runtime)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
