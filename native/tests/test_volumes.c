// Volume maps, sizes and the choice of modules.
#include "testing.h"

#include "limits.gen.h"
#include "mechanism/plan.h"

typedef bool adder(struct volume_map *map, const char *text, struct buffer *what);

static void rows(adder *add, const struct map_case *cases, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct volume_map map = {0}, again = {0};
    AUTO_BUFFER what = {0}, signature = {0}, twice = {0};
    bool accepted = add(&map, cases[i].input, &what);
    check(accepted == cases[i].accept, cases[i].input);
    check(accepted || what.length > 0, cases[i].input);
    volume_map_signature(&map, &signature);
    if (accepted) check(map.count == cases[i].count, cases[i].input);
    if (accepted && map.count > 0) {
      check(same_text(signature.at, cases[i].signature), cases[i].input);
      // A signature is a map that means the same.
      check(add(&again, signature.at, &what), signature.at);
      volume_map_signature(&again, &twice);
      check(same_text(twice.at, signature.at), signature.at);
    }
    volume_map_free(&map);
    volume_map_free(&again);
  }
}

static void site_maps(void **state) {
  (void)state;
  rows(volume_map_add_site, site_map_cases, COUNT_OF(site_map_cases));
}

static void user_maps(void **state) {
  (void)state;
  rows(volume_map_add_user, user_map_cases, COUNT_OF(user_map_cases));
}

// Beside each refused row the one next to it that is good.
static void more_user_maps(void **state) {
  (void)state;
  static const struct {
    const char *text, *signature;
  } cases[] = {
      {"/a:/etc/", NULL}, {"/a:/etc2", "/a:/etc2"}, {"/a:/x/etc", "/a:/x/etc"}, {"/a:/ETC", "/a:/ETC"}, {"/a:/proc", NULL}, {"/a:/process", "/a:/process"},
      {"/a:/sys/", NULL}, {"/a:/system", "/a:/system"}, {"/a:/dev", NULL}, {"/a:/devel", "/a:/devel"}, {"/a:/var", NULL}, {"/a:/var/tmp", "/a:/var/tmp"},
      {"/a:/var/tmp/x", NULL}, {"/a:/var/tmp2", NULL}, {"/a:/", NULL}, {"/a://", NULL}, {"/a:/.", NULL}, {"/a:/opt/.", NULL}, {"/a:/opt/x", "/a:/opt/x"},
      {"/a:/opt/udiImage/modules", NULL}, {"/a:/b/..", NULL}, {"/a:/b..c", "/a:/b..c"}, {"/..:/b", NULL}, {"/a:/b\\,c", "/a:/b\\,c"}, {"/a:/b=c", "/a:/b=c"},
      {"/a:/b\x7f", NULL}, {"/a:/b\t", NULL}, {"/\xc3\xa9:/\xff", "/\xc3\xa9:/\xff"}, {"/a:/b:RO", "/a:/b:ro"}, {"/a:/b:rop", NULL}, {"/a:/b:ro=1", NULL},
      {"/a", NULL}, {"/a:", NULL}, {"/a::ro", NULL}, {"\"/a:/b", NULL}, {"\"/a:/b\"x", NULL}, {"\"/a:/b\"", "/a:/b"}, {"a:/b", NULL},
      {"/a:/b:perNodeCache=size=0", NULL}, {"/a:/b:perNodeCache=size=1,size=2", NULL}, {"/a:/b:perNodeCache=size=1:perNodeCache=size=1", NULL},
      {"/a:/b:perNodeCache=bs=1", NULL}, {"/a:/b:perNodeCache=size", NULL}, {"/a:/b:perNodeCache=size=1,", "/a:/b:perNodeCache=size=1,bs=1048576,method=loop,fstype=xfs"},
      {"/a:/b:perNodeCache=", NULL}, {"/a:/b:perNodeCache=size=1,bs=0", NULL}, {"/a:/b:perNodeCache=size=1,method=", NULL}, {"/a:/b:perNodeCache=size=8E", NULL},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct volume_map map = {0};
    AUTO_BUFFER what = {0}, signature = {0};
    bool accepted = volume_map_add_user(&map, cases[i].text, &what);
    check(accepted == (cases[i].signature != NULL), cases[i].text);
    volume_map_signature(&map, &signature);
    if (accepted) check(same_text(signature.at, cases[i].signature), cases[i].text);
    volume_map_free(&map);
  }
}

// A cache of another kind than there is, and one beside it that is good.
static void cache_types(void **state) {
  (void)state;
  static const struct {
    const char *setting;
    bool accept;
  } cases[] = {{"fs=xfs", true}, {"fstype=xfs", true}, {"FS=XFS", true}, {"fs=ext4", false}, {"fstype=ext3", false}, {"fs=", false}, {"fs", false}, {"fs=xfs2", false}};
  for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
    struct volume_map map = {0};
    AUTO_BUFFER text = {0}, what = {0};
    const char *setting = cases[i / 2].setting;
    buffer_print(&text, "/a:/b:perNodeCache=size=1G,%s", setting);
    bool accepted = (i % 2 == 0 ? volume_map_add_user : volume_map_add_site)(&map, text.at, &what);
    check(accepted == cases[i / 2].accept, setting);
    if (!accepted) check(strstr(what.at, setting) != NULL && strstr(what.at, "is not fs=xfs, the only type") != NULL, what.at);
    volume_map_free(&map);
  }
}

static void many(void **state) {
  (void)state;
  AUTO_BUFFER text = {0}, what = {0};
  struct volume_map map = {0};
  for (int i = 0; i < LIMIT_VOLUME_COUNT; i++) buffer_print(&text, "/a:/b%d;", i);
  assert_true(volume_map_add_user(&map, text.at, &what));
  assert_false(volume_map_add_user(&map, "/a:/c", &what));
  assert_int_equal(map.count, LIMIT_VOLUME_COUNT);
  volume_map_free(&map);
}

static void depth(void **state) {
  for (int more = 0; more <= 1; more++) {
    struct volume_map map = {0};
    AUTO_BUFFER text = {0}, what = {0};
    buffer_text(&text, "/a:");
    for (int i = 0; i < LIMIT_VOLUME_DEPTH + more; i++) buffer_text(&text, "/d");
    assert_int_equal(volume_map_add_user(&map, text.at, &what), more == 0);
    assert_true(more == 0 || strstr(what.at, "lies too deep") != NULL);
    volume_map_free(&map);
  }
  (void)state;
}

static void sizes(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t value;
  } more[] = {{"5k", 5120}, {"1T", 1LL << 40}, {"0.5K", 512}, {"2kib", 2048}, {"0xfK", 15360}, {".5K", 512}, {"1.", 1}, {"1.2345K", 1263},
              {"", -1}, {".", -1}, {"K", -1}, {"-1", -1}, {"+1", -1}, {" 1", -1}, {"1 ", -1}, {"1KK", -1}, {"1i", -1}, {"1iB", -1}, {"1Bi", -1}, {"0x", -1},
              {"0xg", -1}, {"1..5", -1}, {"8E", -1}, {"99999999999999999999", -1}, {"9223372036854775807", INT64_MAX}, {"9223372036854775808", -1}};
  for (size_t i = 0; i < COUNT_OF(bytes_cases) + COUNT_OF(more); i++) {
    const char *text = i < COUNT_OF(bytes_cases) ? bytes_cases[i].input : more[i - COUNT_OF(bytes_cases)].text;
    int64_t wanted = i < COUNT_OF(bytes_cases) ? bytes_cases[i].value : more[i - COUNT_OF(bytes_cases)].value;
    uint64_t value = 0;
    bool parsed = bytes_parse(text, strlen(text), INT64_MAX, &value);
    check(parsed == (wanted >= 0), text);
    if (parsed) check((int64_t)value == wanted, text);
  }
}

static void covering(void **state) {
  (void)state;
  struct volume_map map = {0};
  AUTO_BUFFER what = {0};
  assert_true(volume_map_add_site(&map, "/home;/x:/scratch", &what));
  assert_true(volume_map_covers(&map, "/home/a"));
  assert_true(volume_map_covers(&map, "/scratch"));
  assert_false(volume_map_covers(&map, "/scratch2"));
  assert_false(volume_map_covers(&map, "/homes/a"));
  volume_map_free(&map);
}

static void spared(void **state) {
  (void)state;
  static const struct {
    const char *user;
    bool allowed;
  } cases[] = {{"/a:/site/fs", false}, {"/a:/site", false}, {"/a:/site/fs/below", false}, {"/a:/site/fs2", true}, {"/a:/site2", true},
               {"/a:/SITE/fs", true}, {"/site/fs:/data", true}, {"/a:/ok;/a:/site/fs", false}, {"", true}};
  struct volume_map site = {0};
  AUTO_BUFFER what = {0};
  assert_true(volume_map_add_site(&site, "/y:/z;/x:/site/fs", &what));
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct volume_map user = {0};
    assert_true(volume_map_add_user(&user, cases[i].user, &what));
    check(volume_map_spares(&user, &site, &what) == cases[i].allowed, cases[i].user);
    volume_map_free(&user);
  }
  volume_map_free(&site);
}

static void read_site(struct config *config, const char *text) {
  struct failure why;
  assert_true(config_parse(config, UDIROOT_CONF, text, strlen(text), "udiRoot.conf", &why));
  assert_true(config_finish(config, true, "udiRoot.conf", &why));
}

static void modules(void **state) {
  (void)state;
  struct config config = {0};
  struct failure why;
  read_site(&config, "defaultModules=a,b\nmodule_a_siteEnv=A=1\nmodule_b_siteEnv=B=1\nmodule_c_conflict=a\nmodule_d_enabled=0\nmodule_e_siteEnv=E=1\n");
  static const struct {
    const char *asked, *selected;
  } cases[] = {{NULL, "a b"}, {"none", ""}, {"a", "a"}, {"e,a,b", "e a b"}, {"b,,a,", "b a"}, {"c", "c"}, {"c,b", "c b"},
               {"", NULL}, {",", NULL}, {"c,a", NULL}, {"a,c", NULL}, {"a,b,c", NULL}, {"a,a", NULL}, {"d", NULL}, {"x", NULL}, {"A", NULL}, {"none,a", NULL}, {"a,none", NULL}, {"a b", NULL}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct modules active = {0};
    AUTO_BUFFER names = {0};
    bool selected = modules_select(&config, cases[i].asked, &active, &why);
    const char *row = cases[i].asked == NULL ? "(nothing)" : cases[i].asked;
    check(selected == (cases[i].selected != NULL), row);
    buffer_text(&names, "");
    for (size_t j = 0; j < active.count; j++) buffer_print(&names, "%s%s", j == 0 ? "" : " ", active.items[j]->name);
    if (selected) check(same_text(names.at, cases[i].selected), row);
    if (!selected) check(why.code == ERROR_MODULE_REFUSED, row);
    modules_free(&active);
  }
  config_free(&config);
}

// What a site would refuse at a start: beside a module's mounts a place may be free, and with it not.
static void selected(void **state) {
  (void)state;
  struct config config = {0};
  struct failure why;
  read_site(&config, "siteFs=/home\nmodule_data_siteFs=/data\nmodule_none2_siteEnv=A=1\n");
  static const struct {
    const char *modules, *volumes, *texts;
  } cases[] = {{NULL, NULL, ""}, {"none", "/a:/data", "/a:/data"}, {"data", "/a:/data", NULL}, {"none2,data", "/a:/data/x", NULL}, {"data", "/a:/dat", "/a:/dat"},
               {NULL, "/a:/home/x", NULL}, {NULL, "/a:/b;/c:/b", NULL}, {NULL, "/a", NULL}, {NULL, "/2:/z:ro;/1:/y", "/1:/y;/2:/z:ro"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct modules active = {0};
    struct volume_map volumes = {0};
    AUTO_BUFFER texts = {0};
    const char *row = cases[i].volumes == NULL ? "(nothing)" : cases[i].volumes;
    assert_true(modules_select(&config, cases[i].modules, &active, &why));
    bool good = volumes_select(&config, &active, cases[i].volumes, &volumes, &why);
    check(good == (cases[i].texts != NULL), row);
    buffer_text(&texts, "");
    volume_map_signature(&volumes, &texts);
    if (good) check(same_text(texts.at, cases[i].texts), row);
    if (!good) check(why.code == ERROR_VOLUME_INVALID, row);
    volume_map_free(&volumes);
    modules_free(&active);
  }
  config_free(&config);
}

// What a site says of per-node caches: where, how made, of which types, and how large together.
static void caches(void **state) {
  (void)state;
#define MADE "perNodeCachePath=/var\nmkfsXfsPath=/sbin/mkfs.xfs\n"
  static const struct {
    const char *site, *volumes;
    bool allowed;
  } cases[] = {{"", "/a:/b:perNodeCache=size=1G", false},
               {"perNodeCachePath=/var\n", "/a:/b:perNodeCache=size=1G", false},
               {"mkfsXfsPath=/sbin/mkfs.xfs\n", "/a:/b:perNodeCache=size=1G", false},
               {MADE, "/a:/b:perNodeCache=size=1G", true},
               {MADE "perNodeCacheAllowedFsType=ext4\n", "/a:/b:perNodeCache=size=1G", false},
               {MADE "perNodeCacheAllowedFsType=ext4 xfs\n", "/a:/b:perNodeCache=size=1G", true},
               {MADE "perNodeCacheSizeLimit=2G\n", "/a:/b:perNodeCache=size=1G;/c:/d:perNodeCache=size=1G", true},
               {MADE "perNodeCacheSizeLimit=2G\n", "/a:/b:perNodeCache=size=1G;/c:/d:perNodeCache=size=1025M", false}};
#undef MADE
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct config config = {0};
    struct volume_map map = {0};
    struct failure why = {.code = ERROR_INTERNAL};
    AUTO_BUFFER what = {0};
    read_site(&config, cases[i].site);
    assert_true(volume_map_add_user(&map, cases[i].volumes, &what));
    check(caches_allowed(&config, &map, &why) == cases[i].allowed, cases[i].site);
    if (!cases[i].allowed) check(why.code == ERROR_CACHE_REFUSED, cases[i].site);
    volume_map_free(&map);
    config_free(&config);
  }
}

// Volumes come in the order in which they are mounted, whatever order they were named in.
static void settled(void **state) {
  (void)state;
  static const struct {
    const char *text, *order;
  } cases[] = {{"/1:/a/b;/2:/a", "/a /a/b"}, {"/2:/a;/1:/a/b", "/a /a/b"}, {"/1:/a;/1:/a:", "/a"}, {"/1:/a;/1:/a:ro", NULL}, {"/1:/a;/2:/a;/3:/b", NULL},
               {"/1:/b;/2:/a;/1:/b;/2:/a", "/a /b"}, {"", ""}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct volume_map map = {0};
    AUTO_BUFFER what = {0}, order = {0};
    assert_true(volume_map_add_user(&map, cases[i].text, &what));
    check(volume_map_settle(&map, &what) == (cases[i].order != NULL), cases[i].text);
    buffer_text(&order, "");
    for (size_t j = 0; j < map.count; j++) buffer_print(&order, "%s%s", j == 0 ? "" : " ", map.items[j].to);
    if (cases[i].order != NULL) check(same_text(order.at, cases[i].order), cases[i].text);
    volume_map_free(&map);
  }
}

static void forget(struct root_plan *plan) {
  free(plan->image.id);
  account_free(&plan->accounts.caller);
  modules_free(&plan->modules);
  volume_map_free(&plan->volumes);
  config_free(&plan->config);
}

static void description(void **state) {
  (void)state;
  static const char text[] = "module_mpich_siteEnv=A=1\nmodule_cvmfs_siteEnv=B=1\n";
  for (size_t i = 0; i < COUNT_OF(reuse_cases); i++) {
    struct root_plan plan = EMPTY_PLAN;
    struct failure why;
    AUTO_BUFFER what = {0}, told = {0};
    assert_true(config_parse(&plan.config, UDIROOT_CONF, text, strlen(text), "udiRoot.conf", &why) && config_finish(&plan.config, true, "udiRoot.conf", &why));
    assert_true(modules_select(&plan.config, reuse_cases[i].modules, &plan.modules, &why));
    assert_true(reuse_cases[i].volumes == NULL || volume_map_add_user(&plan.volumes, reuse_cases[i].volumes, &what));
    plan.image.id = memory_copy(reuse_cases[i].identifier, strlen(reuse_cases[i].identifier));
    plan.accounts.caller.name = memory_copy(reuse_cases[i].user, strlen(reuse_cases[i].user));
    plan_describe(&plan, &told);
    assert_string_equal(told.at, reuse_cases[i].text);
    forget(&plan);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(site_maps), cmocka_unit_test(user_maps), cmocka_unit_test(more_user_maps),
                                     cmocka_unit_test(cache_types), cmocka_unit_test(many), cmocka_unit_test(depth),      cmocka_unit_test(sizes),     cmocka_unit_test(covering),
                                     cmocka_unit_test(spared),    cmocka_unit_test(modules),   cmocka_unit_test(selected), cmocka_unit_test(caches),    cmocka_unit_test(settled),
                                     cmocka_unit_test(description)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
