// The plugin as it is loaded, by a stand-in of Slurm: what it registers, what it leaves in the environments of a job, and what it refuses.
// Built twice, with and without what Slurm has since 23.11.
#include "tests/testing.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <slurm/spank.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/config.h"

#define EXPORTED __attribute__((visibility("default")))
#define ID "4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a"
#define OTHER "5f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a4f6a"

static char directory[64];
EXPORTED char standin_shifter[80];

// The site of every submission.
EXPORTED bool standin_site_load(const char *from, struct config *config, struct failure *why);
EXPORTED bool standin_site_load(const char *from, struct config *config, struct failure *why) {
  AUTO_BUFFER text = {0};
  assert_non_null(strstr(from, "/shifter"));
  *config = (struct config){0};
  buffer_print(&text, "%ssiteFs=/home:/site\nmodule_m_siteEnv=M=1\n", conf_base);
  return config_parse(config, UDIROOT_CONF, text.at, text.length, "udiRoot.conf", why) && config_finish(config, false, "udiRoot.conf", why);
}

// --- Slurm ---

struct spank_handle {
  spank_context_t context;
  struct spank_option options[16];
  size_t option_count;
  struct words control, task; // NAME=VALUE: for prologue and epilogue, and of a task
  uint32_t job, step;
  char *argv[8], *prepended[4];
  int argc;
};
static struct spank_handle slurm;
static struct buffer told;

static ptrdiff_t find(const struct words *words, const char *name) {
  for (size_t i = 0; i < words->count; i++)
    if (strncmp(words->items[i], name, strlen(name)) == 0 && words->items[i][strlen(name)] == '=') return (ptrdiff_t)i;
  return -1;
}

static const char *value_of(const struct words *words, const char *name) {
  ptrdiff_t at = find(words, name);
  return at < 0 ? NULL : words->items[at] + strlen(name) + 1;
}

static void drop(struct words *words, const char *name) {
  ptrdiff_t at = find(words, name);
  if (at < 0) return;
  free(words->items[at]);
  words->items[at] = words->items[--words->count];
  words->items[words->count] = NULL;
}

static void put(struct words *words, const char *name, const char *value) {
  AUTO_BUFFER text = {0};
  buffer_print(&text, "%s=%s", name, value);
  drop(words, name);
  words_add_text(words, text.at);
}

EXPORTED spank_context_t spank_context(void) {
  return slurm.context;
}
EXPORTED const char *spank_strerror(spank_err_t error) {
  (void)error;
  return "an error";
}
EXPORTED void slurm_error(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  buffer_print_list(&told, format, arguments);
  va_end(arguments);
  buffer_byte(&told, '\n');
}
EXPORTED spank_err_t spank_option_register(spank_t spank, struct spank_option *option) {
  assert_true(spank->option_count < COUNT_OF(spank->options));
  spank->options[spank->option_count++] = *option;
  return ESPANK_SUCCESS;
}
EXPORTED spank_err_t spank_job_control_setenv(spank_t spank, const char *name, const char *value, int overwrite) {
  assert_int_equal(overwrite, 1);
  if (spank->context == S_CTX_REMOTE) return ESPANK_NOT_LOCAL;
  put(&spank->control, name, value);
  return ESPANK_SUCCESS;
}
EXPORTED spank_err_t spank_job_control_unsetenv(spank_t spank, const char *name) {
  drop(&spank->control, name);
  return ESPANK_SUCCESS;
}
EXPORTED spank_err_t spank_setenv(spank_t spank, const char *name, const char *value, int overwrite) {
  (void)overwrite;
  if (spank->context != S_CTX_REMOTE) return ESPANK_NOT_REMOTE;
  put(&spank->task, name, value);
  return ESPANK_SUCCESS;
}
EXPORTED spank_err_t spank_unsetenv(spank_t spank, const char *name) {
  drop(&spank->task, name);
  return ESPANK_SUCCESS;
}
EXPORTED spank_err_t spank_getenv(spank_t spank, const char *name, char *into, int length) {
  const char *value = value_of(&spank->task, name);
  if (value == NULL) return ESPANK_ENV_NOEXIST;
  snprintf(into, (size_t)length, "%s", value);
  return strlen(value) >= (size_t)length ? ESPANK_NOSPACE : ESPANK_SUCCESS;
}
EXPORTED spank_err_t spank_get_item(spank_t spank, spank_item_t item, ...) {
  va_list arguments;
  va_start(arguments, item);
  if (item == S_JOB_ID) *va_arg(arguments, uint32_t *) = spank->job;
  if (item == S_JOB_UID) *va_arg(arguments, uid_t *) = getuid();
  if (item == S_JOB_STEPID) *va_arg(arguments, uint32_t *) = spank->step;
  if (item == S_JOB_ARGV) {
    *va_arg(arguments, int *) = spank->argc;
    *va_arg(arguments, char ***) = spank->argv;
  }
  va_end(arguments);
  return item == S_JOB_ID || item == S_JOB_UID || item == S_JOB_STEPID || item == S_JOB_ARGV ? ESPANK_SUCCESS : ESPANK_BAD_ARG;
}
#ifdef WITH_PREPEND
EXPORTED spank_err_t spank_prepend_task_argv(spank_t spank, int argc, const char *argv[]);
EXPORTED spank_err_t spank_prepend_task_argv(spank_t spank, int argc, const char *argv[]) {
  for (int i = 0; i < argc; i++) spank->prepended[i] = memory_copy(argv[i], strlen(argv[i]));
  return ESPANK_SUCCESS;
}
#endif

// --- The plugin ---

static struct {
  spank_f *init, *post_opt, *task_init, *exit;
} plugin;

static int call(spank_f *function, const char *words) {
  AUTO_WORDS list = {0};
  words_add_split(&list, words, " ");
  told.length = 0;
  buffer_text(&told, "");
  return function(&slurm, (int)list.count, list.items);
}

static void forget_slurm(void) {
  words_free(&slurm.control);
  words_free(&slurm.task);
  for (size_t i = 0; i < COUNT_OF(slurm.prepended); i++) free(slurm.prepended[i]);
  slurm = (struct spank_handle){0};
}

static void begin(spank_context_t context, const char *words) {
  forget_slurm();
  clearenv();
  setenv("PATH", "/usr/bin:/bin", 1);
  slurm.context = context;
  assert_int_equal(call(plugin.init, words), 0);
}

static int give(const char *name, const char *value) {
  for (size_t i = 0; i < slurm.option_count; i++)
    if (strcmp(slurm.options[i].name, name) == 0) return slurm.options[i].cb(slurm.options[i].val, value, slurm.context == S_CTX_REMOTE);
  fail_row("--%s is no option", name);
  return -1;
}

static int submit(const char *words) {
  return call(plugin.post_opt, words);
}

static void end(void) {
  call(plugin.exit, "");
}

static bool says(const char *code) {
  return strstr(told.at, code) != NULL;
}

static void registration(void **state) {
  (void)state;
  static const struct {
    spank_context_t context;
    const char *words, *first;
    size_t count;
  } cases[] = {{S_CTX_ALLOCATOR, "", "image", 6}, {S_CTX_LOCAL, "tasks=inside", "image", 6}, {S_CTX_REMOTE, "", "image", 6}, {S_CTX_SLURMD, "", NULL, 0},
               {S_CTX_JOB_SCRIPT, "", NULL, 0}, {S_CTX_LOCAL, "enable_ccm=0 enable_sshd=0 extern_cgroup=0 memory_cgroup= extern_setup=", "image", 6},
               {S_CTX_REMOTE, "nonsense", "image", 6}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    begin(cases[i].context, cases[i].words);
    assert_int_equal(slurm.option_count, cases[i].count);
    if (cases[i].first != NULL) assert_string_equal(slurm.options[0].name, cases[i].first);
    end();
  }
  static const char *const refused[] = {"nonsense", "tasks=here", "long_options=2", "enable_ccm=1", "enable_sshd", "extern_cgroup=1", "memory_cgroup=/cgroup", "extern_setup=/x",
                                        "shifter_config=/elsewhere", "shifterimg="};
  for (size_t i = 0; i < COUNT_OF(refused); i++) {
    begin(S_CTX_ALLOCATOR, "");
    check(call(plugin.init, refused[i]) < 0 && says("plugstack.conf"), refused[i]);
    slurm.context = S_CTX_SLURMD;
    check(call(plugin.init, refused[i]) < 0, refused[i]);
    slurm.context = S_CTX_REMOTE;
    check(call(plugin.init, refused[i]) == 0, refused[i]);
    end();
  }
}

static void variables(void **state) {
  (void)state;
  begin(S_CTX_ALLOCATOR, "");
  // As Slurm does it, before it calls the plugin.
  setenv("_SLURM_SPANK_OPTION_shifter_slurm_image_pull", "", 1);
  setenv("_SLURM_SPANK_OPTION_shifter_slurm_image", "debian:12", 1);
  put(&slurm.control, "_SLURM_SPANK_OPTION_shifter_slurm_image", "debian:12");
  assert_int_equal(give("image", "other:1") | give("image", "debian:12") | give("volume", "/b:/y") | give("volume", "/a:/x:ro") | give("module", "m"), 0);
  assert_int_equal(give("entrypoint", NULL), 0);
  assert_int_equal(submit(""), 0);
  static const struct {
    const char *name, *value;
  } set[] = {{"SHIFTER_IMAGETYPE", "id"}, {"SHIFTER_IMAGE", ID}, {"SHIFTER_IMAGEREQUEST", "docker:debian:12"}, {"SHIFTER_VOLUME", "/a:/x:ro;/b:/y"},
             {"SHIFTER_MODULE", "m"}, {"SHIFTER_ENTRYPOINT", "image"}};
  for (size_t i = 0; i < COUNT_OF(set); i++) {
    AUTO_BUFFER twin = {0};
    buffer_print(&twin, "SLURM_SPANK_%s", set[i].name);
    check(same_text(getenv(set[i].name), set[i].value) && same_text(getenv(twin.at), set[i].value), set[i].name);
    check(same_text(value_of(&slurm.control, set[i].name), set[i].value), set[i].name);
  }
  assert_null(getenv("_SLURM_SPANK_OPTION_shifter_slurm_image"));
  assert_null(getenv("_SLURM_SPANK_OPTION_shifter_slurm_image_pull"));
  assert_int_equal(slurm.control.count, COUNT_OF(set));
  // The next component of a heterogeneous job has options of its own; the script is the first one's.
  assert_int_equal(give("image", "other:1"), 0);
  assert_int_equal(submit(""), 0);
  assert_string_equal(value_of(&slurm.control, "SHIFTER_COMPONENT_IMAGE"), OTHER);
  assert_null(value_of(&slurm.control, "SHIFTER_IMAGE")); // which salloc would put over the first one's
  assert_string_equal(getenv("SHIFTER_IMAGE"), ID);
  assert_int_equal(submit(""), 0);
  assert_int_equal(slurm.control.count, 0);
  assert_int_equal(give("image", "other:1") | give("no-shifter", NULL), 0);
  assert_int_equal(submit(""), 0);
  assert_int_equal(slurm.control.count, 0);
  assert_string_equal(getenv("SHIFTER_IMAGE"), ID);
  end();
}

static void environment(void **state) {
  (void)state;
  begin(S_CTX_ALLOCATOR, "long_options");
  setenv("SHIFTER_IMAGETYPE", "docker", 1);
  setenv("SHIFTER_IMAGE", "debian:12", 1);
  setenv("SHIFTER_VOLUME", "/a:/x", 1);
  assert_int_equal(submit(""), 0); // nothing is asked of the plugin
  assert_string_equal(getenv("SHIFTER_IMAGE"), "debian:12");
  assert_int_equal(slurm.control.count, 0);
  assert_int_equal(give("shifter.module", "none"), 0);
  assert_int_equal(submit(""), 0);
  end();
  begin(S_CTX_LOCAL, "");
  setenv("SHIFTER_IMAGETYPE", "docker", 1);
  setenv("SHIFTER_IMAGE", "debian:12", 1);
  setenv("SHIFTER_VOLUME", "/a:/x", 1);
  assert_int_equal(give("module", "m"), 0);
  assert_int_equal(submit(""), 0);
  assert_string_equal(getenv("SHIFTER_IMAGE"), ID);
  assert_string_equal(value_of(&slurm.control, "SHIFTER_VOLUME"), "/a:/x");
  end();
  // In a job a name is the one that was submitted, though it means another image by now.
  begin(S_CTX_LOCAL, "");
  setenv("SLURM_JOB_ID", "12", 1);
  setenv("SHIFTER_IMAGETYPE", "id", 1);
  setenv("SHIFTER_IMAGE", OTHER, 1);
  setenv("SHIFTER_IMAGEREQUEST", "docker:debian:12", 1);
  assert_int_equal(give("image", "debian:12"), 0);
  assert_int_equal(submit(""), 0);
  assert_string_equal(getenv("SHIFTER_IMAGE"), OTHER);
  assert_string_equal(getenv("SHIFTER_IMAGEREQUEST"), "docker:debian:12");
  // The commands of one srun share their environment.
  assert_int_equal(give("image", "other:1"), 0);
  assert_true(submit("") < 0 && says("USAGE"));
  end();
  begin(S_CTX_LOCAL, "");
  setenv("SHIFTER_IMAGE", OTHER, 1);
  setenv("SLURM_SPANK_SHIFTER_IMAGE", OTHER, 1);
  put(&slurm.control, "SHIFTER_IMAGE", OTHER);
  assert_int_equal(give("no-shifter", NULL) | give("image", "debian:12"), 0);
  assert_int_equal(submit(""), 0);
  assert_null(getenv("SHIFTER_IMAGE"));
  assert_null(getenv("SLURM_SPANK_SHIFTER_IMAGE"));
  assert_int_equal(slurm.control.count, 0);
  end();
}

static void refusals(void **state) {
  (void)state;
  static const struct {
    const char *options[4], *code;
  } cases[] = {{{"image", "missing:1"}, "IMAGE_NOT_FOUND"}, {{"image", "silent:1"}, "NATIVE_FAILED"}, {{"image", "UPPER:"}, "REFERENCE_INVALID"},
               {{"image", "debian:12", "volume", "/a:/etc"}, "VOLUME_INVALID"}, {{"image", "debian:12", "volume", "/a:/site/x"}, "VOLUME_INVALID"},
               {{"image", "debian:12", "module", "unknown"}, "MODULE_REFUSED"}, {{"volume", "/a:/etc"}, "VOLUME_INVALID"}, {{"image-pull", NULL}, "USAGE"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    begin(S_CTX_ALLOCATOR, "");
    assert_int_equal(give(cases[i].options[0], cases[i].options[1]), 0);
    if (cases[i].options[2] != NULL) assert_int_equal(give(cases[i].options[2], cases[i].options[3]), 0);
    if (submit("") >= 0 || !says(cases[i].code)) fail_row("%s=%s: %s", cases[i].options[0], cases[i].options[1], told.at);
    assert_null(getenv("SHIFTER_IMAGE"));
    end();
  }
  static const char *const words[][2] = {{"image", ""}, {"volume", ""}, {"module", ""}, {"image", "a\nb"}, {"image-pull", "soon"}, {"image-pull", "0"}, {"image-pull", "m"}};
  for (size_t i = 0; i < COUNT_OF(words); i++) {
    begin(S_CTX_ALLOCATOR, "");
    check(give(words[i][0], words[i][1]) < 0 && says("USAGE"), words[i][0]);
    slurm.context = S_CTX_REMOTE;
    check(give(words[i][0], words[i][1]) == 0, words[i][0]); // slurmstepd reads no user's text
    end();
  }
}

// A prologue with a variable that the kernel takes none of can't be started, and Slurm drains the node of such a one.
static void sizes(void **state) {
  (void)state;
  for (int large = 0; large < 2; large++) {
    begin(S_CTX_ALLOCATOR, "");
    for (int i = 0; i < 40; i++) {
      AUTO_BUFFER volume = {0};
      buffer_print(&volume, "/%0*d:/x%d", large ? 2000 : 1000, i, i);
      assert_int_equal(give("volume", volume.at), 0);
    }
    assert_int_equal(give("image", "debian:12"), 0);
    check((submit("") < 0) == (large == 1) && says("USAGE") == (large == 1), large ? "large" : "small");
    assert_int_equal(slurm.control.count, large ? 0 : 4);
    end();
  }
}

// Its jobs are made without asking plugins what options mean.
static void scrontab(void **state) {
  (void)state;
  char *name = program_invocation_short_name, itself[] = "scrontab";
  program_invocation_short_name = itself;
  begin(S_CTX_ALLOCATOR, "");
  assert_true(give("image", "debian:12") < 0 && says("OPTION_UNAVAILABLE") && says("srun"));
  end();
  program_invocation_short_name = name;
}

static int pull(const char *image, const char *time) {
  AUTO_BUFFER words = {0};
  buffer_print(&words, "shifterimg=%s/shifterimg", directory);
  begin(S_CTX_ALLOCATOR, words.at);
  assert_int_equal(give("image", image) | give("image-pull", time), 0);
  return submit(words.at);
}

static void pulls(void **state) {
  (void)state;
  // What it prints is nothing of what sbatch prints.
  char printed[16];
  int before = dup(STDOUT_FILENO), output = memfd_create("output", MFD_CLOEXEC);
  assert_true(before >= 0 && output >= 0 && dup2(output, STDOUT_FILENO) >= 0);
  int status = pull("debian:12", NULL);
  assert_true(dup2(before, STDOUT_FILENO) >= 0);
  assert_int_equal(status, 0);
  assert_int_equal(pread(output, printed, sizeof printed, 0), 0);
  close(before);
  close(output);
  assert_string_equal(getenv("SHIFTER_IMAGE"), ID);
  end();
  assert_true(pull("broken:1", "2h") < 0 && says("NATIVE_FAILED"));
  end();
  assert_true(pull("endless:1", "1s") < 0 && says("CANCELLED") && says("after 1 seconds"));
  end();
  // It sends us the signal that a user would.
  assert_true(pull("interrupting:1", "5m") < 0 && says("CANCELLED"));
  end();
  begin(S_CTX_ALLOCATOR, "shifterimg=/nowhere/shifterimg");
  assert_int_equal(give("image", "debian:12") | give("image-pull", NULL), 0);
  assert_true(submit("shifterimg=/nowhere/shifterimg") < 0 && says("OPTION_UNAVAILABLE") && says("/nowhere/shifterimg can't be run"));
  end();
}

struct step {
  uint32_t number;
  const char *image, *argv[4];
  enum { AS_IT_IS, INSIDE, REFUSED } wanted;
};

static void run_step(const struct step *step, const char *words) {
  begin(S_CTX_REMOTE, words);
  slurm.job = 13;
  slurm.step = step->number;
  put(&slurm.task, "SLURM_JOB_ID", "12");
  if (step->image != NULL) put(&slurm.task, step->image, ID);
  while (slurm.argc < (int)COUNT_OF(step->argv) && step->argv[slurm.argc] != NULL) {
    slurm.argv[slurm.argc] = (char *)step->argv[slurm.argc];
    slurm.argc++;
  }
  assert_int_equal(submit(words), 0);
  assert_string_equal(value_of(&slurm.task, "SHIFTER_JOB_ID"), "13"); // of the component
  int status = call(plugin.task_init, words);
  check((status < 0) == (step->wanted == REFUSED), step->argv[0]);
#ifdef WITH_PREPEND
  check(slurm.argv[0] == step->argv[0] && (slurm.prepended[0] != NULL) == (step->wanted == INSIDE), step->argv[0]);
  if (step->wanted == INSIDE) assert_true(same_text(slurm.prepended[0], standin_shifter) && same_text(slurm.prepended[1], "--"));
#else
  check((slurm.argv[0] != step->argv[0]) == (step->wanted == INSIDE), step->argv[0]);
  check(same_text(value_of(&slurm.task, "SHIFTER_TASK_PROGRAM"), step->wanted == INSIDE ? step->argv[0] : NULL), step->argv[0]);
  if (step->wanted == INSIDE) assert_non_null(strstr(slurm.argv[0], "shifter-task"));
  if (step->wanted == INSIDE) free(slurm.argv[0]);
#endif
  end();
}

static void tasks(void **state) {
  (void)state;
#ifdef WITH_PREPEND
  const int mixed = INSIDE;
#else
  const int mixed = REFUSED;
#endif
  const struct step steps[] = {{0, "SHIFTER_IMAGE", {"hostname", "-f"}, INSIDE},
                               {7, "SLURM_SPANK_SHIFTER_IMAGEREQUEST", {"./a b"}, INSIDE},
                               {0, NULL, {"hostname"}, AS_IT_IS},
                               {0, "SHIFTER_IMAGE", {"shifter", "hostname"}, AS_IT_IS},
                               {0, "SHIFTER_IMAGE", {"/usr/bin/shifter", "hostname"}, AS_IT_IS},
                               {0, "SHIFTER_IMAGE", {"python", "a\nb"}, INSIDE},
                               {0, "SHIFTER_IMAGE", {"file", "# two\n0 hostname\n1-2 shifter hostname\n"}, mixed},
                               {0, "SHIFTER_IMAGE", {"file", "# two\n\n0 shifter hostname\n* /usr/bin/shifter x\n"}, AS_IT_IS},
                               {0xfffffffb, "SHIFTER_IMAGE", {"/spool/slurm_script"}, AS_IT_IS},
                               {0xfffffffa, "SHIFTER_IMAGE", {"/bin/sh"}, AS_IT_IS}};
  for (size_t i = 0; i < COUNT_OF(steps); i++) {
    run_step(&steps[i], "tasks=inside");
    struct step outside = steps[i];
    outside.wanted = AS_IT_IS;
    run_step(&outside, "");
  }
}

// --- Programs that it asks ---

static void write_program(const char *name, const char *text) {
  AUTO_BUFFER path = {0};
  buffer_print(&path, "%s/%s", directory, name);
  int fd = open(path.at, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
  assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

static const char *const files[] = {"shifter", "shifterimg"};

static int make_programs(void **state) {
  (void)state;
  snprintf(directory, sizeof directory, "/tmp/shifter-spank-XXXXXX");
  if (mkdtemp(directory) == NULL) return -1;
  snprintf(standin_shifter, sizeof standin_shifter, "%s/shifter", directory);
  write_program("shifter", "#!/bin/sh\n[ \"$1 $2 $#\" = '--report-fd=3 --resolve 3' ] || exit 70\ncase $3 in\n  docker:debian:12) echo " ID ";;\n  docker:other:1 | id:" OTHER ") echo " OTHER
             ";;\n  docker:silent:1) exit 3;;\n  *) echo 'IMAGE_NOT_FOUND there is no image' >&3; exit 1;;\nesac\n");
  write_program("shifterimg", "#!/bin/sh\n[ \"$1 $#\" = 'pull 2' ] || exit 70\ncase $2 in\n  docker:endless:1) exec sleep 1000;;\n  docker:debian:12) echo the id;;\n  docker:interrupting:1) kill -TERM $PPID; exec sleep 1000;;\n"
             "  docker:broken:1) exit 4;;\nesac\n");
  return 0;
}

static int remove_programs(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(files); i++) {
    AUTO_BUFFER path = {0};
    buffer_print(&path, "%s/%s", directory, files[i]);
    if (unlink(path.at) != 0) return -1;
  }
  forget_slurm();
  buffer_free(&told);
  return rmdir(directory);
}

static spank_f *symbol(void *module, const char *name) {
  spank_f *function = NULL;
  *(void **)&function = dlsym(module, name);
  if (function == NULL) fprintf(stderr, "%s: %s\n", name, dlerror());
  return function;
}

int main(int argc, char **argv) {
  void *module = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (module == NULL) {
    fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "the plugin is the one argument");
    return 1;
  }
  plugin.init = symbol(module, "slurm_spank_init");
  plugin.post_opt = symbol(module, "slurm_spank_init_post_opt");
  plugin.task_init = symbol(module, "slurm_spank_task_init");
  plugin.exit = symbol(module, "slurm_spank_exit");
  if (plugin.init == NULL || plugin.post_opt == NULL || plugin.task_init == NULL || plugin.exit == NULL) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(registration), cmocka_unit_test(variables), cmocka_unit_test(environment),
                                     cmocka_unit_test(refusals),     cmocka_unit_test(pulls),     cmocka_unit_test(tasks),
                                     cmocka_unit_test(sizes),        cmocka_unit_test(scrontab)};
  return cmocka_run_group_tests(tests, make_programs, remove_programs);
}
