// Command lines of shifter, setupRoot and unsetupRoot. What is taken can be written down in full, and means the same when it is read again.
//
// Input: a byte for the program, then words, each ended by a NUL; those behind an empty first letter '\xff' are the environment.
#include "fuzz/fuzzing.h"
#include "payload/command.h"
#include "policy/environment.h"
#include "policy/image_facts.h"
#include "policy/setup_arguments.h"

#define WORDS 64

static void option(struct words *line, const char *name, const char *value) {
  AUTO_BUFFER word = {0};
  if (value == NULL) return;
  buffer_print(&word, "--%s=%s", name, value);
  words_add(line, word.at, word.length);
}

static void flag(struct words *line, const char *name, bool set) {
  AUTO_BUFFER word = {0};
  buffer_print(&word, "--%s", name);
  if (set) words_add(line, word.at, word.length);
}

static void number(struct words *line, const char *name, int value) {
  AUTO_BUFFER word = {0};
  buffer_print(&word, "--%s=%d", name, value);
  if (value >= 0) words_add(line, word.at, word.length);
}

static void check_setting(const char *setting) {
  const char *equals = strchr(setting, '=');
  must(equals != NULL && equals != setting && equals[1] != '\0');
}

static void check_choice(const struct arguments *parsed, char *const *environment) {
  struct failure why = {0};
  char *request = NULL;
  struct image_facts facts = {0};
  struct words argv = {0};
  if (arguments_image(parsed, environment, &request, &why))
    must(request != NULL && (parsed->image == NULL || strcmp(request, parsed->image) == 0));
  else
    fuzz_refused(&why);
  free(request);
  words_add_text(&facts.entrypoint, "entry");
  words_add_text(&facts.command, "command");
  must(command_select(parsed, &facts, &argv, &why));
  must(argv.count > 0);
  // The words that the user gave come last and whole.
  size_t given = 0;
  while (parsed->command[given] != NULL) given++;
  must(argv.count >= given);
  for (size_t i = 0; i < given; i++) must(strcmp(argv.items[argv.count - given + i], parsed->command[i]) == 0);
  words_free(&argv);
  facts_free(&facts);
}

static void write_shifter(const struct arguments *parsed, struct words *line) {
  words_add_text(line, "shifter");
  flag(line, "verbose", parsed->verbose);
  flag(line, "clearenv", parsed->clear_environment);
  flag(line, "writable", parsed->writable);
  flag(line, "explain", parsed->explain);
  number(line, "report-fd", parsed->report);
  option(line, parsed->mode == MODE_RESOLVE ? "resolve" : "image", parsed->image);
  option(line, "volume", parsed->volumes);
  option(line, "module", parsed->modules);
  for (size_t i = 0; i < parsed->env.count; i++) option(line, "env", parsed->env.items[i]);
  for (size_t i = 0; i < parsed->env_files.count; i++) option(line, "env-file", parsed->env_files.items[i]);
  option(line, "workdir", parsed->workdir);
  flag(line, "workdir", parsed->use_workdir && parsed->workdir == NULL);
  option(line, "entrypoint", parsed->entrypoint);
  flag(line, "entrypoint", parsed->use_entrypoint && parsed->entrypoint == NULL);
  flag(line, "help", parsed->mode == MODE_HELP);
  flag(line, "version", parsed->mode == MODE_VERSION);
  words_add_text(line, "--");
  for (char *const *word = parsed->command; *word != NULL; word++) words_add_text(line, *word);
}

static void shifter(int argc, char **argv, char *const *environment) {
  struct failure why = {0};
  struct arguments parsed, again;
  struct words line = {0};
  if (!arguments_parse(argc, argv, &parsed, &why)) {
    fuzz_refused(&why);
    must(parsed.report == -1 || parsed.report > 2);
    arguments_free(&parsed);
    return;
  }
  must(parsed.report == -1 || parsed.report > 2);
  must(parsed.mode != MODE_RESOLVE || parsed.command[0] == NULL);
  must(parsed.command[0] == NULL || (parsed.command > (char *const *)argv && parsed.command < (char *const *)argv + argc));
  for (size_t i = 0; i < parsed.env.count; i++) check_setting(parsed.env.items[i]);
  if (parsed.mode == MODE_RUN) check_choice(&parsed, environment);
  write_shifter(&parsed, &line);
  must(arguments_parse((int)line.count, line.items, &again, &why));
  must(parsed.mode == again.mode && parsed.verbose == again.verbose && parsed.clear_environment == again.clear_environment);
  must(parsed.writable == again.writable && parsed.explain == again.explain && parsed.report == again.report);
  must(fuzz_same(parsed.image, again.image) || parsed.mode == MODE_HELP || parsed.mode == MODE_VERSION);
  must(fuzz_same(parsed.volumes, again.volumes) && fuzz_same(parsed.modules, again.modules));
  must(fuzz_same_words(&parsed.env, &again.env) && fuzz_same_words(&parsed.env_files, &again.env_files));
  must(parsed.use_workdir == again.use_workdir && fuzz_same(parsed.workdir, again.workdir));
  must(parsed.use_entrypoint == again.use_entrypoint && fuzz_same(parsed.entrypoint, again.entrypoint));
  size_t i = 0;
  for (; parsed.command[i] != NULL && again.command[i] != NULL; i++) must(strcmp(parsed.command[i], again.command[i]) == 0);
  must(parsed.command[i] == NULL && again.command[i] == NULL);
  arguments_free(&parsed);
  arguments_free(&again);
  words_free(&line);
}

// The rule for names of jobs, written a second time.
static bool is_job(const char *job) {
  size_t length = strlen(job);
  if (length < 1 || length > 128 || strcmp(job, ".") == 0 || strcmp(job, "..") == 0) return false;
  for (size_t i = 0; i < length; i++)
    if (!(isalnum((unsigned char)job[i]) && (unsigned char)job[i] < 0x80) && strchr("._@[]-", job[i]) == NULL) return false;
  return true;
}

static void setup(int argc, char **argv) {
  struct failure why = {0};
  struct setup_arguments parsed;
  if (!setup_arguments_parse(argc, argv, &parsed, &why)) {
    fuzz_refused(&why);
  } else if (parsed.mode == MODE_RUN || parsed.mode == MODE_RESOLVE) {
    must(parsed.uid != 0 && parsed.uid <= LARGEST_ID && parsed.gid != 0 && parsed.gid <= LARGEST_ID);
    must(is_job(parsed.job) && (parsed.report == -1 || parsed.report > 2));
    must(parsed.mode == MODE_RESOLVE ? parsed.image != NULL : parsed.id == argv[argc - 1] && (parsed.type == argv[argc - 2] || strcmp(parsed.type, "id") == 0));
    must(parsed.user == NULL || *parsed.user != '\0');
    if (parsed.hostsfile.at != NULL) must(parsed.hostsfile.length > 1 && parsed.hostsfile.at[parsed.hostsfile.length - 1] == '\n');
  }
  setup_arguments_free(&parsed);
}

static void unsetup(int argc, char **argv) {
  struct failure why = {0};
  struct unsetup_arguments parsed;
  if (!unsetup_arguments_parse(argc, argv, &parsed, &why))
    fuzz_refused(&why);
  else
    must(is_job(parsed.job) && (parsed.report == -1 || parsed.report > 2) && (!parsed.has_uid || parsed.uid != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char program[] = "program", *argv[WORDS + 2] = {program}, *environment[WORDS + 1] = {NULL};
  char *copies[2 * WORDS];
  int argc = 1, count = 0, kept = 0;
  if (size == 0) return 0;
  const uint8_t *end = data + size;
  for (const uint8_t *at = data + 1; at < end;) {
    const uint8_t *nul = memchr(at, '\0', (size_t)(end - at));
    size_t length = nul == NULL ? (size_t)(end - at) : (size_t)(nul - at);
    bool variable = length > 0 && *at == 0xff;
    if (variable ? count == WORDS : argc == WORDS) break;
    char *word = copies[kept++] = fuzz_copy(at + (variable ? 1 : 0), length - (variable ? 1 : 0), true);
    if (variable)
      environment[count++] = word;
    else
      argv[argc++] = word;
    at += length + 1;
  }
  if (data[0] % 4 == 1)
    setup(argc, argv);
  else if (data[0] % 4 == 2)
    unsetup(argc, argv);
  else
    shifter(argc, argv, environment);
  for (int i = 0; i < kept; i++) free(copies[i]);
  return 0;
}
