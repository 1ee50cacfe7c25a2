// The command line, the choice of the program, and its environment.
#include "tests/testing.h"

#include "payload/command.h"
#include "payload/compose.h"
#include "policy/environment.h"
#include "policy/image_facts.h"

#define ARGV(...) ((char *[]){"shifter", __VA_ARGS__, NULL})

static bool parse(char **argv, struct arguments *arguments, struct failure *why) {
  int argc = 0;
  while (argv[argc] != NULL) argc++;
  return arguments_parse(argc, argv, arguments, why);
}

static void options(void **state) {
  (void)state;
  struct arguments a;
  struct failure why;
  assert_true(parse(ARGV("-vE", "-iubuntu", "-e", "A=b=c", "--env=C=d", "-w/tmp", "--entry=x", "-n", "-m", "none", "sh", "-c", "--image=y"), &a, &why));
  assert_true(a.verbose && a.clear_environment && a.use_workdir && a.use_entrypoint);
  assert_string_equal(a.image, "ubuntu");
  assert_string_equal(a.workdir, "/tmp");
  assert_string_equal(a.entrypoint, "x");
  assert_int_equal(a.env.count, 2);
  assert_string_equal(a.command[0], "sh");
  assert_string_equal(a.command[2], "--image=y");
  arguments_free(&a);
  assert_true(parse(ARGV("--image", "a", "--", "--version"), &a, &why));
  assert_string_equal(a.command[0], "--version");
  assert_true(parse(ARGV("--image=a", "-w", "/tmp"), &a, &why)); // the value of -w is optional, so it is attached or absent
  assert_true(a.use_workdir && a.workdir == NULL);
  assert_string_equal(a.command[0], "/tmp");
  assert_true(arguments_parse(0, (char *[]){NULL}, &a, &why));
  assert_null(a.command[0]);
  assert_true(parse(ARGV("--workdir", "--", "ls", "--"), &a, &why));
  assert_string_equal(a.command[1], "--");
  assert_true(parse(ARGV("-inew", "ls", "--", "x"), &a, &why)); // a value that ends in the letter of -w
  assert_true(parse(ARGV("-w", "-E", "ls", "--", "x"), &a, &why));
  assert_int_equal(a.report, -1);
  assert_true(parse(ARGV("--report-fd=3", "ls"), &a, &why));
  assert_int_equal(a.report, 3);
  assert_true(parse(ARGV("--resolve", "x"), &a, &why));
  assert_int_equal(a.mode, MODE_RESOLVE);
}

// What was taken before a mistake counts for telling it.
static void report_before_a_mistake(void **state) {
  (void)state;
  struct arguments a;
  struct failure why;
  assert_false(parse(ARGV("--report-fd=7", "--nope"), &a, &why));
  assert_int_equal(a.report, 7);
  arguments_free(&a);
}

static void refused_words(void **state) {
  (void)state;
  static const struct {
    const char *words[4], *says;
  } rows[] = {{{"--workdir", "/etc", "--", "ls"}, "write --workdir=/etc"},      {{"-Ew", "/etc", "--", "ls"}, "write --workdir=/etc"},
              {{"--entrypoint", "/bin/x", "--", "y"}, "write --entrypoint=/bin/x"}, {{"--entry", "x", "--"}, "write --entry=x"},
              {{"--env=A"}, "--env=A is not NAME=VALUE"},                        {{"--verbose=1"}, "--verbose takes no value"},
              {{"-v", "-e"}, "-e needs a value"},                                {{"--volume"}, "--volume needs a value"},
              {{"--imag=x"}, "there is no option --imag"},                       {{"-vz"}, "there is no option -z"},
              {{"-\n"}, "there is no option -?"},
              {{"--report-fd=x"}, "--report-fd 'x'"}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    const char *const *words = rows[i].words;
    char *argv[] = {(char *)"shifter", (char *)words[0], (char *)words[1], (char *)words[2], (char *)words[3], NULL};
    struct arguments a;
    struct failure why = {0};
    check(!parse(argv, &a, &why), words[0]);
    if (strstr(why.what, rows[i].says) == NULL) fail_row("%s: %s", words[0], why.what);
    arguments_free(&a);
  }
}

static void refused_options(void **state) {
  (void)state;
  static const struct {
    const char *words[3];
    enum error_code code;
  } rows[] = {{{"--nope"}, ERROR_USAGE},          {{"-z"}, ERROR_USAGE},           {{"--image"}, ERROR_USAGE},     {{"-i"}, ERROR_USAGE},
              {{"--verbose=1"}, ERROR_USAGE},     {{"--workdir="}, ERROR_USAGE},   {{"--entrypoint="}, ERROR_USAGE}, {{"--imag=x"}, ERROR_USAGE},
              {{"--resolve=x", "ls"}, ERROR_USAGE}, {{"-e", "A="}, ERROR_ENVIRONMENT_INVALID},
              {{"--report-fd"}, ERROR_USAGE}, {{"--report-fd=2"}, ERROR_USAGE},
              {{"--report-fd=-1"}, ERROR_USAGE},  {{"--report-fd=/dev/null"}, ERROR_USAGE}, {{"--report-fd=2147483648"}, ERROR_USAGE}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    char *argv[] = {(char *)"shifter", (char *)rows[i].words[0], (char *)rows[i].words[1], NULL};
    struct arguments a;
    struct failure why = {0};
    check(!parse(argv, &a, &why), rows[i].words[0]);
    check(why.code == rows[i].code, rows[i].words[0]);
    arguments_free(&a);
  }
}

static void image_of_environment(void **state) {
  (void)state;
  static const struct {
    const char *environment[4], *wanted;
  } rows[] = {{{"SHIFTER_IMAGETYPE=docker", "SHIFTER_IMAGE=a"}, "docker:a"},
              {{"SHIFTER_IMAGEREQUEST=b"}, "b"},
              {{"SHIFTER_IMAGE=id1", "SHIFTER_IMAGEREQUEST=docker:b"}, "docker:b"},
              {{"SLURM_SPANK_SHIFTER_IMAGETYPE=id", "SLURM_SPANK_SHIFTER_IMAGE=x"}, "id:x"},
              {{"SHIFTER_IMAGE=y", "SLURM_SPANK_SHIFTER_IMAGETYPE=id", "SLURM_SPANK_SHIFTER_IMAGE=x"}, "id:y"},
              {{"SHIFTER_IMAGETYPE=docker"}, NULL},
              {{"SHIFTER_IMAGE=docker"}, NULL},
              {{"SHIFTER_IMAGES=a", "SHIFTER=b"}, NULL},
              {{NULL}, NULL}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    struct arguments a = {0};
    struct failure why = {0};
    AUTO_FREE char *request = NULL;
    bool found = arguments_image(&a, (char *const *)rows[i].environment, &request, &why);
    assert_int_equal(found, rows[i].wanted != NULL);
    if (found) assert_string_equal(request, rows[i].wanted);
    if (!found) assert_int_equal(why.code, ERROR_USAGE);
    a.image = "z";
    AUTO_FREE char *given = NULL;
    assert_true(arguments_image(&a, (char *const *)rows[i].environment, &given, &why));
    assert_string_equal(given, "z");
  }
}

// SHIFTER_ENTRYPOINT stands for --entrypoint where that is not given.
static void entrypoint_variable(void **state) {
  (void)state;
  static const struct {
    const char *word, *environment[3];
    bool used;
    const char *entrypoint;
  } rows[] = {{NULL, {NULL}, false, NULL},
              {NULL, {"SHIFTER_ENTRYPOINT="}, false, NULL},
              {NULL, {"SHIFTER_ENTRYPOINT=image"}, true, NULL},
              {NULL, {"SHIFTER_ENTRYPOINT=/bin/time -v"}, true, "/bin/time -v"},
              {NULL, {"SLURM_SPANK_SHIFTER_ENTRYPOINT=b", "SHIFTER_ENTRYPOINT=a"}, true, "a"},
              {NULL, {"SLURM_SPANK_SHIFTER_ENTRYPOINT=b"}, true, "b"},
              {"--entrypoint", {"SHIFTER_ENTRYPOINT=a"}, true, NULL},
              {"--entrypoint=c", {"SHIFTER_ENTRYPOINT=a"}, true, "c"}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    char *words[] = {(char *)"shifter", (char *)rows[i].word, NULL};
    struct arguments a;
    struct failure why = {0};
    assert_true(parse(words, &a, &why));
    command_entrypoint(&a, (char *const *)rows[i].environment);
    assert_int_equal(a.use_entrypoint, rows[i].used);
    assert_true(same_text(a.entrypoint, rows[i].entrypoint));
    arguments_free(&a);
  }
}

// command_selection.json, whose first column is a shell line.
static void selection(void **state) {
  (void)state;
  static const struct {
    const char *words[3];
    bool entry, cmd;
    const char *argv[5];
  } rows[] = {{{NULL}, true, true, {"/bin/sh"}},
              {{"you"}, true, true, {"you"}},
              {{"--entrypoint"}, true, true, {"echo", "howdy", "guys"}},
              {{"--entrypoint", "you"}, true, true, {"echo", "howdy", "you"}},
              {{"--entrypoint=echo"}, true, true, {"echo"}},
              {{"--entrypoint=echo", "you"}, true, true, {"echo", "you"}},
              {{"--entrypoint"}, false, false, {NULL}},
              {{NULL}, false, false, {"/bin/sh"}},
              {{"--entrypoint=echo"}, false, true, {"echo"}},
              {{"--entrypoint=a b"}, true, true, {"a b"}},
              {{"--entrypoint"}, false, true, {NULL}}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    char *words[] = {(char *)"shifter", (char *)rows[i].words[0], (char *)rows[i].words[1], NULL};
    struct arguments a;
    struct failure why = {0};
    struct image_facts facts = {0};
    if (rows[i].entry) words_add_text(&facts.entrypoint, "echo");
    if (rows[i].entry) words_add_text(&facts.entrypoint, "howdy");
    if (rows[i].cmd) words_add_text(&facts.command, "guys");
    assert_true(parse(words, &a, &why));
    AUTO_WORDS argv = {0};
    bool selected = command_select(&a, &facts, &argv, &why);
    assert_int_equal(selected, rows[i].argv[0] != NULL);
    if (!selected) assert_int_equal(why.code, ERROR_NO_ENTRYPOINT);
    for (size_t j = 0; selected && j <= argv.count; j++) assert_true(same_text(argv.items[j], rows[i].argv[j]));
    facts_free(&facts);
    arguments_free(&a);
  }
}

static void settings(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(env_option_cases); i++)
    check(setting_is_complete(env_option_cases[i].text) == env_option_cases[i].accept, env_option_cases[i].text);
}

static void env_files(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(env_file_cases); i++) {
    const char *line = env_file_cases[i].line, *effect = env_file_cases[i].effect;
    AUTO_WORDS parsed = {0};
    struct failure why = {0};
    bool accepted = environment_parse_file(&parsed, line, strlen(line), "f", &why);
    check(accepted == (strcmp(effect, "fatal") != 0), line);
    check(parsed.count == (strncmp(effect, "set", 3) == 0 ? 1 : 0), line);
    if (parsed.count == 1) check(parsed.items[0][0] == 'A' && !is_blank(parsed.items[0][strlen(parsed.items[0]) - 1]), line);
  }
  static const char lines[] = "A=1\n\n#x\n B=\"b c\" \r\nA=2";
  AUTO_WORDS parsed = {0};
  struct failure why = {0};
  assert_true(environment_parse_file(&parsed, lines, sizeof lines - 1, "f", &why));
  assert_int_equal(parsed.count, 3);
  assert_string_equal(parsed.items[1], "B=\"b c\"");
  assert_false(environment_parse_file(&parsed, "A=1\0", 4, "f", &why));
}

static struct words list(const char *const *items) {
  struct words words = {0};
  for (; *items != NULL; items++) words_add_text(&words, *items);
  return words;
}

static void compose(struct words *environment, const struct environment_sources *sources) {
  struct composition made;
  composition_make(&made, sources);
  composition_apply(&made, environment);
  composition_free(&made);
}

static void composition(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(environment_cases); i++) {
    const struct environment_case *row = &environment_cases[i];
    AUTO_WORDS image = list(row->image);
    AUTO_WORDS set = list(row->set);
    AUTO_WORDS append = list(row->append);
    AUTO_WORDS prepend = list(row->prepend);
    AUTO_WORDS unset = list(row->unset);
    AUTO_WORDS result = list(row->result);
    AUTO_WORDS made = {0};
    struct conf_value site[UDIROOT_KEY_COUNT] = {0};
    site[UDIROOT_SITE_ENV].words = set;
    site[UDIROOT_SITE_ENV_APPEND].words = append;
    site[UDIROOT_SITE_ENV_PREPEND].words = prepend;
    site[UDIROOT_SITE_ENV_UNSET].words = unset;
    const struct environment_sources sources = {.caller = (char *const *)row->start, .image_env = &image, .site = site};
    compose(&made, &sources);
    assert_int_equal(made.count, result.count);
    for (size_t j = 0; j < result.count; j++) check(words_hold(&made, result.items[j]), result.items[j]);
  }
}

// Modules in their order, then the site; and each variable knows whose it is.
static void modules_and_origins(void **state) {
  (void)state;
  static const char text[] = "siteEnv=S=site\nsiteEnvAppend=P=/site\nsiteEnvUnset=GONE\nmodule_a_siteEnv=M=a S=a\nmodule_a_siteEnvPrepend=P=/a\n"
                             "module_b_siteEnv=M=b\nmodule_b_siteEnvPrepend=P=/b\nmodule_b_siteEnvUnset=OUT\n";
  static const char *const caller[] = {"P=/caller", "GONE=1", "OUT=1", "KEPT=1", NULL};
  struct config config = {0};
  struct modules active = {0};
  struct composition made;
  struct failure why;
  AUTO_WORDS all = {0};
  AUTO_WORDS image = list((const char *const[]){"P=/image", NULL});
  assert_true(config_parse(&config, UDIROOT_CONF, text, strlen(text), "udiRoot.conf", &why) && config_finish(&config, true, "udiRoot.conf", &why));
  assert_true(modules_select(&config, "b,a", &active, &why));
  const struct environment_sources sources = {.caller = (char *const *)caller, .image_env = &image, .modules = &active, .site = config.udiroot};
  composition_make(&made, &sources);
  composition_apply(&made, &all);
  static const struct {
    const char *setting, *origin;
  } wanted[] = {{"P=/a:/b:/image:/site", "the image, then module_b_siteEnvPrepend (udiRoot.conf:7), then module_a_siteEnvPrepend (udiRoot.conf:5), then siteEnvAppend (udiRoot.conf:2)"},
                {"KEPT=1", "the caller"}, {"M=a", "module_a_siteEnv (udiRoot.conf:4)"}, {"S=site", "siteEnv (udiRoot.conf:1)"}};
  assert_int_equal(all.count, COUNT_OF(wanted));
  for (size_t i = 0; i < COUNT_OF(wanted); i++) {
    AUTO_BUFFER origin = {0};
    check(words_hold(&all, wanted[i].setting), wanted[i].setting);
    composition_origin(&made, wanted[i].setting, &origin);
    assert_string_equal(origin.at, wanted[i].origin);
  }
  composition_free(&made);
  modules_free(&active);
  config_free(&config);
}

static void order(void **state) {
  (void)state;
  static const char *const caller[] = {"A=caller", "A=again", "SHIFTER_IMAGE=old", "B=caller", "C=caller", "D=caller", "broken", "=x", "E=", NULL};
  AUTO_WORDS image = list((const char *const[]){"B=image", "C=image", "D=image", "EMPTY=", NULL});
  AUTO_WORDS file = list((const char *const[]){"C=file", "D=file", NULL});
  AUTO_WORDS options = list((const char *const[]){"D=option", "D=later", NULL});
  AUTO_WORDS made = {0};
  struct environment_sources sources = {.caller = (char *const *)caller, .request = "docker:x", .image = "id1", .image_env = &image,
                                        .file = &file, .options = &options};
  compose(&made, &sources);
  static const char *const wanted[] = {"A=caller", "SHIFTER_IMAGE=id1", "B=image", "C=file", "D=later", "E=", "SHIFTER_IMAGEREQUEST=docker:x", "EMPTY="};
  assert_int_equal(made.count, COUNT_OF(wanted));
  for (size_t i = 0; i < COUNT_OF(wanted); i++) check(words_hold(&made, wanted[i]), wanted[i]);
}

static void look_up(void **state) {
  (void)state;
  AUTO_WORDS all = list((const char *const[]){"PATH=/hello", "PATH_2=/asdf", "ABCDEFG=1234", "ABCDE=1234", NULL});
  assert_int_equal(environment_find(&all, "PATH=/a/b/c"), 0);
  assert_int_equal(environment_find(&all, "PA=/a"), -1);
  assert_int_equal(environment_find(&all, "ABCDE=123"), 3);
}

static void volumes_and_modules(void **state) {
  (void)state;
  static char *const environment[] = {(char *)"SHIFTER_VOLUME=/a:/b", (char *)"SHIFTER_MODULE=", (char *)"SLURM_SPANK_SHIFTER_MODULE=gpu", NULL};
  struct arguments a;
  struct failure why = {0};
  assert_true(parse(ARGV("--writable"), &a, &why));
  assert_string_equal(arguments_volumes(&a, environment), "/a:/b");
  assert_string_equal(arguments_modules(&a, environment), "gpu");
  assert_null(arguments_volumes(&a, &environment[3]));
  assert_null(arguments_modules(&a, &environment[3]));
  char *const job[] = {"SLURM_SPANK_SHIFTER_IMAGEREQUEST=docker:x", NULL};
  assert_string_equal(arguments_request(&a, job), "docker:x");
  assert_null(arguments_request(&a, environment));
  assert_true(a.writable);
  assert_false(a.explain);
  assert_true(parse(ARGV("-V/c:/d", "--volume", "/e:/f;/g:/h", "--module=mpich", "-m", "gpu,mpich", "--explain"), &a, &why));
  assert_string_equal(arguments_volumes(&a, environment), "/c:/d;/e:/f;/g:/h");
  assert_string_equal(arguments_modules(&a, environment), "gpu,mpich");
  assert_true(a.explain);
  arguments_free(&a);
  assert_true(parse(ARGV("--image=id:1"), &a, &why));
  assert_null(arguments_request(&a, job));
  arguments_free(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(options),     cmocka_unit_test(refused_options), cmocka_unit_test(refused_words),
                                     cmocka_unit_test(report_before_a_mistake), cmocka_unit_test(image_of_environment),
                                     cmocka_unit_test(selection), cmocka_unit_test(entrypoint_variable),   cmocka_unit_test(settings),        cmocka_unit_test(env_files),
                                     cmocka_unit_test(composition), cmocka_unit_test(order),           cmocka_unit_test(look_up),
                                     cmocka_unit_test(volumes_and_modules), cmocka_unit_test(modules_and_origins)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
