// What the hook of PBS writes down of a job, and the command line that the wrapper makes of it.
#include "tests/testing.h"

#include "pbs/job_file.h"

#define ID "id:4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a"
#define HEAD "shifter-pbs 1\njob 8:7[1].srv\nuid 4:1000\n"
#define IMAGE "image 67:" ID "\n"

static void files(void **state) {
  (void)state;
  static const struct {
    const char *text, *argv; // NULL: refused
    enum error_code code;
  } cases[] = {
      {HEAD IMAGE "end\n", "shifter --image=" ID " --", 0},
      {HEAD IMAGE "volume 5:/a:/b\nvolume 6:/c,d:/\nmodules 3:x,y\nwritable 3:yes\nshell 7:/bin/sh\nrun 2:21\nend\n",
       "shifter --image=" ID " --volume=/a:/b --volume=/c,d:/ --module=x,y --writable --", 0},
      {HEAD IMAGE "volume 8:--job=13\nmodules 6:--help\nend\n", "shifter --image=" ID " --volume=--job=13 --module=--help --", 0},
      {HEAD "end\n", NULL, ERROR_RECORD_INVALID},
      {HEAD IMAGE, NULL, ERROR_RECORD_INVALID},
      {HEAD IMAGE IMAGE "end\n", NULL, ERROR_RECORD_INVALID},
      {HEAD IMAGE "end\nmore", NULL, ERROR_RECORD_INVALID},
      {"", NULL, ERROR_RECORD_INVALID},
      {"shifter-pbs 2\nend\n", NULL, ERROR_RECORD_NEWER},
      {"shifter-root 1\nend\n", NULL, ERROR_RECORD_INVALID},
      {"shifter-pbs 1\njob 3:a/b\nuid 4:1000\n" IMAGE "end\n", NULL, ERROR_RECORD_INVALID},
      {"shifter-pbs 1\njob 2:..\nuid 4:1000\n" IMAGE "end\n", NULL, ERROR_RECORD_INVALID},
      {"shifter-pbs 1\njob 1:7\nuid 2:-1\n" IMAGE "end\n", NULL, ERROR_RECORD_INVALID},
      {"shifter-pbs 1\njob 1:7\nuid 10:4294967295\n" IMAGE "end\n", NULL, ERROR_RECORD_INVALID},
      {HEAD "image 6:--help\nend\n", NULL, ERROR_RECORD_INVALID},
      {HEAD IMAGE "shell 2:sh\nend\n", NULL, ERROR_RECORD_INVALID},
      {HEAD IMAGE "shell 9:/bin/\nsh\nend\n", NULL, ERROR_RECORD_INVALID},
      {HEAD IMAGE "volume 0:\nend\n", NULL, ERROR_RECORD_INVALID},
      {HEAD IMAGE "volume 5:/a\n/b\nend\n", NULL, ERROR_RECORD_INVALID},
      {HEAD IMAGE "volume 999999999:/a\nend\n", NULL, ERROR_RECORD_INVALID},
      {HEAD IMAGE "writable 2:no\nend\n", NULL, ERROR_RECORD_INVALID},
      {HEAD IMAGE "run 1:x\nend\n", NULL, ERROR_RECORD_INVALID},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    AUTO_JOB_FILE file = {0};
    AUTO_WORDS argv = {0};
    AUTO_BUFFER line = {0};
    struct failure why = {0};
    bool good = job_file_parse(cases[i].text, strlen(cases[i].text), &file, &why);
    if (good != (cases[i].argv != NULL) || (!good && why.code != cases[i].code)) fail_row("%zu: %s: %d %s", i, cases[i].text, (int)why.code, why.what);
    if (!good) continue;
    job_file_arguments(&file, "shifter", &argv);
    for (size_t j = 0; j < argv.count; j++) buffer_print(&line, "%s%s", j == 0 ? "" : " ", argv.items[j]);
    assert_string_equal(line.at, cases[i].argv);
  }
}

static void encoded(void **state) {
  (void)state;
  static const struct {
    const char *from, *to;
  } cases[] = {{"plain/+,", "plain/+,"}, {"a%0Ab%0ac", "a\nb\nc"}, {"%25%2F%C3%BC", "%/\xC3\xBC"}, {"%FF", "\xFF"},
               {"%", NULL}, {"%4", NULL}, {"a%4", NULL}, {"%zz", NULL}, {"%4z", NULL}, {"%00", NULL}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    AUTO_BUFFER out = {0};
    bool good = text_decode(cases[i].from, &out);
    check(good == (cases[i].to != NULL), cases[i].from);
    check(!good || same_text(out.at, cases[i].to), cases[i].from);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(files), cmocka_unit_test(encoded)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
