// What Slurm's prologue and epilogue say of a job, and the plugin's rules.
#include "tests/testing.h"

#include "slurm/prologue.h"

#define JOB "SLURM_JOB_ID=12", "SLURM_JOB_UID=1000", "SLURM_JOB_GID=100"
#define ID "4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a"
#define IMAGE "SPANK_SHIFTER_IMAGETYPE=id", "SPANK_SHIFTER_IMAGE=" ID

static void jobs(void **state) {
  (void)state;
  static const struct {
    const char *environment[6], *job;
  } cases[] = {{{JOB}, "12"},
               {{"SLURM_JOB_ID=0", "SLURM_JOB_UID=0", "SLURM_JOB_GID=0"}, "0"},
               {{"SLURM_JOB_ID=12", "SLURM_JOB_UID=1000"}, NULL},
               {{"SLURM_JOB_ID=", "SLURM_JOB_UID=1000", "SLURM_JOB_GID=100"}, NULL},
               {{"SLURM_JOB_ID=12;reboot", "SLURM_JOB_UID=1000", "SLURM_JOB_GID=100"}, NULL},
               {{"SLURM_JOB_ID=../12", "SLURM_JOB_UID=1000", "SLURM_JOB_GID=100"}, NULL},
               {{"SLURM_JOB_ID=012", "SLURM_JOB_UID=1000", "SLURM_JOB_GID=100"}, NULL},
               {{"SLURM_JOB_ID=12", "SLURM_JOB_UID=-1", "SLURM_JOB_GID=100"}, NULL},
               {{"SLURM_JOB_ID=12", "SLURM_JOB_UID=4294967295", "SLURM_JOB_GID=100"}, NULL},
               {{"SLURM_JOB_ID=12", "SLURM_JOB_UID=1000", "SLURM_JOB_GID=100 "}, NULL},
               {{"SLURM_JOB_ID=99999999999999999999", "SLURM_JOB_UID=1000", "SLURM_JOB_GID=100"}, NULL},
               {{NULL}, NULL}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    AUTO_PROLOGUE job = {0};
    struct failure why = {0};
    bool good = prologue_read_job((char *const *)cases[i].environment, &job, &why);
    const char *row = cases[i].environment[0] == NULL ? "(nothing)" : cases[i].environment[0];
    check(good == (cases[i].job != NULL) && (good || why.code == ERROR_JOB_INVALID), row);
    check(same_text(job.job, cases[i].job), row);
  }
}

static void requests(void **state) {
  (void)state;
  static const struct {
    const char *environment[8], *argv;
    enum error_code code;
  } cases[] = {
      {{JOB}, "", 0},
      {{JOB, "SPANK_SHIFTER_VOLUME=/a:/b", "SPANK_SHIFTER_IMAGE="}, "", 0},
      {{JOB, IMAGE}, "--job=12 --uid=1000 --gid=100 -- id " ID, 0},
      {{JOB, IMAGE, "SPANK_SHIFTER_VOLUME=/a b:/c;/d:/e:ro", "SPANK_SHIFTER_MODULE=x,y"},
       "--job=12 --uid=1000 --gid=100 --volume=/a b:/c;/d:/e:ro --module=x,y -- id " ID, 0},
      {{JOB, "SPANK_SHIFTER_IMAGETYPE=docker", "SPANK_SHIFTER_IMAGE=debian:12"}, "--job=12 --uid=1000 --gid=100 -- docker debian:12", 0},
      // A component behind the first has names of its own, and nothing of the first one's.
      {{JOB, "SPANK_SHIFTER_IMAGETYPE=docker", "SPANK_SHIFTER_VOLUME=/a:/b", "SPANK_SHIFTER_COMPONENT_IMAGETYPE=id", "SPANK_SHIFTER_COMPONENT_IMAGE=" ID},
       "--job=12 --uid=1000 --gid=100 -- id " ID, 0},
      {{JOB, "SPANK_SHIFTER_COMPONENT_IMAGETYPE=id", "SPANK_SHIFTER_COMPONENT_IMAGE=../x"}, NULL, ERROR_REFERENCE_INVALID},
      // What the user himself set is not Slurm's to tell.
      {{JOB, "SHIFTER_IMAGETYPE=id", "SHIFTER_IMAGE=" ID}, "", 0},
      {{JOB, "SPANK_SHIFTER_IMAGE=" ID}, NULL, ERROR_JOB_INVALID},
      {{JOB, "SPANK_SHIFTER_IMAGETYPE=id"}, NULL, ERROR_JOB_INVALID},
      {{JOB, "SPANK_SHIFTER_IMAGETYPE=--help", "SPANK_SHIFTER_IMAGE=" ID}, NULL, ERROR_REFERENCE_INVALID},
      {{JOB, "SPANK_SHIFTER_IMAGETYPE=nothing", "SPANK_SHIFTER_IMAGE=" ID}, NULL, ERROR_REFERENCE_INVALID},
      {{JOB, "SPANK_SHIFTER_IMAGETYPE=id", "SPANK_SHIFTER_IMAGE=../../etc/shadow"}, NULL, ERROR_REFERENCE_INVALID},
      {{JOB, "SPANK_SHIFTER_IMAGETYPE=docker", "SPANK_SHIFTER_IMAGE=$(reboot)"}, NULL, ERROR_REFERENCE_INVALID},
      {{JOB, "SPANK_SHIFTER_IMAGETYPE=id", "SPANK_SHIFTER_IMAGE=" ID "\n"}, NULL, ERROR_JOB_INVALID},
      {{JOB, IMAGE, "SPANK_SHIFTER_VOLUME=/a:/b\x1b[2J"}, NULL, ERROR_JOB_INVALID},
      {{JOB, IMAGE, "SPANK_SHIFTER_VOLUME=/a:/etc"}, NULL, ERROR_VOLUME_INVALID},
      {{JOB, IMAGE, "SPANK_SHIFTER_VOLUME=--job=13"}, NULL, ERROR_VOLUME_INVALID},
      {{JOB, IMAGE, "SPANK_SHIFTER_MODULE=a\tb"}, NULL, ERROR_JOB_INVALID},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    AUTO_PROLOGUE job = {0};
    AUTO_WORDS argv = {0};
    AUTO_BUFFER line = {0};
    struct failure why = {0};
    const char *row = cases[i].environment[3] == NULL ? "(nothing)" : cases[i].environment[3];
    assert_true(prologue_read_job((char *const *)cases[i].environment, &job, &why));
    bool good = prologue_read_request((char *const *)cases[i].environment, &job, &why);
    if (good != (cases[i].argv != NULL)) fail_row("%zu: %s: %s", i, row, why.what);
    check(good || why.code == cases[i].code, row);
    if (!good) continue;
    if (job.image != NULL) prologue_set_up(&job, &argv);
    buffer_text(&line, "");
    for (size_t j = 0; j < argv.count; j++) buffer_print(&line, "%s%s", j == 0 ? "" : " ", argv.items[j]);
    assert_string_equal(line.at, cases[i].argv);
  }
  AUTO_PROLOGUE job = {0};
  AUTO_WORDS argv = {0};
  struct failure why;
  static const char *const environment[] = {JOB, NULL};
  assert_true(prologue_read_job((char *const *)environment, &job, &why));
  prologue_take_down(&job, &argv);
  assert_int_equal(argv.count, 1);
  assert_string_equal(argv.items[0], "--job=12");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(jobs), cmocka_unit_test(requests)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
