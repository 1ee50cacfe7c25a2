// shifter-check: the same understanding as shifter's, told as JSON, without any right.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "check/arguments.h"
#include "check/explain.h"
#include "check/json.h"
#include "check/presence.h"
#include "check/show.h"
#include "check/unprivileged.h"
#include "limits.gen.h"
#include "mechanism/open.h"
#include "mechanism/site.h"

static int put(const struct buffer *out, int status) {
  bool written = write_all(STDOUT_FILENO, out->at, out->length) && write_all(STDOUT_FILENO, "\n", 1);
  return written ? status : error_exit(ERROR_RESOURCE);
}

static int put_failure(const struct failure *why) {
  AUTO_BUFFER out = {0};
  show_failure(&out, why);
  return put(&out, error_exit(why->code));
}

static int usage(const char *what) {
  struct failure why;
  fail(&why, ERROR_USAGE, "%s", what);
  return put_failure(&why);
}

static int check_text(const char *kind, const char *text, const char *default_type) {
  AUTO_BUFFER out = {0};
  int status = show_parsed(&out, kind, text, strlen(text), default_type);
  return put(&out, status);
}

static int check_file(const char *kind, const char *path) {
  AUTO_BUFFER content = {0}, out = {0};
  AUTO_FD fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
  // One byte more than any limit, so that the parser is what refuses.
  if (fd < 0 || (!read_all(fd, LIMIT_RECORD_BYTES + 65536, &content) && errno != EFBIG)) {
    struct failure why;
    fail(&why, ERROR_USAGE, "%s: %s", path, strerror(errno));
    return put_failure(&why);
  }
  int status = show_parsed(&out, kind, content.at, content.length, "docker");
  return put(&out, status);
}

static int digit(int c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static bool from_hex(const char *line, size_t length, struct buffer *bytes) {
  bytes->length = 0;
  buffer_text(bytes, "");
  for (size_t i = 0; i + 1 < length; i += 2) {
    int high = digit(line[i]), low = digit(line[i + 1]);
    if (high < 0 || low < 0) return false;
    buffer_byte(bytes, (char)(high << 4 | low));
  }
  return length % 2 == 0;
}

static int check_batch(const char *kind) {
  static const char *const kinds[] = {"ref", "record", "name", "meta", "root", "volume", "siteFs"};
  bool known = false;
  for (size_t i = 0; i < COUNT_OF(kinds); i++) known = known || strcmp(kind, kinds[i]) == 0;
  if (!known) return usage("--batch needs ref, record, name, meta, root, volume or siteFs");
  AUTO_FREE char *line = NULL;
  size_t room = 0;
  AUTO_BUFFER bytes = {0}, out = {0};
  for (ssize_t length = getline(&line, &room, stdin); length >= 0; length = getline(&line, &room, stdin)) {
    if (length > 0 && line[length - 1] == '\n') length--;
    if (!from_hex(line, (size_t)length, &bytes)) return usage("a line is not hex");
    out.length = 0;
    (void)show_parsed(&out, kind, bytes.at, bytes.length, "docker");
    buffer_byte(&out, '\n');
    if (fwrite(out.at, 1, out.length, stdout) != out.length) return error_exit(ERROR_RESOURCE);
    // An asker that waits for each answer gets it at once.
    if (fflush(stdout) != 0) return error_exit(ERROR_RESOURCE);
  }
  return 0;
}

static int tell_failure(bool json, const struct failure *why) {
  if (json) return put_failure(why);
  AUTO_BUFFER line = {0};
  failure_line(why, "shifter-check", &line);
  write_message(&line);
  return error_exit(why->code);
}

// Ends with 1 when the files are understood and name something that can't be used.
static int check_config(const char *named, bool json) {
  AUTO_FREE char *directory = named != NULL ? realpath(named, NULL) : memory_copy(CONFIG_DIRECTORY, strlen(CONFIG_DIRECTORY));
  struct failure why = {.code = ERROR_INTERNAL};
  struct config config = {0};
  if (directory == NULL) {
    fail(&why, ERROR_UDIROOT_CONF_MISSING, "%s: %s", named, strerror(errno));
    return tell_failure(json, &why);
  }
  if (!site_load(directory, &config, &why)) return tell_failure(json, &why);
  AUTO_BUFFER out = {0};
  AUTO_WORDS wrong = {0};
  bool right = site_check(&config, &wrong, &why);
  if (json)
    show_config(&out, &config, &wrong);
  else
    explain_config(&out, directory, &config, &wrong);
  if (json) buffer_byte(&out, '\n');
  config_free(&config);
  if (!write_all(STDOUT_FILENO, out.at, out.length)) return error_exit(ERROR_RESOURCE);
  return right ? 0 : 1;
}

static bool has_cache(const struct volume_map *volumes) {
  for (size_t i = 0; i < volumes->count; i++)
    if ((volumes->items[i].flags & VOLUME_CACHE) != 0) return true;
  return false;
}

// What a workload manager asks at submission: what a start on a node would refuse, by the site's own configuration.
static int check_request(const struct check_arguments *asked) {
  struct failure why = {.code = ERROR_INTERNAL};
  struct config config = {0};
  struct modules modules = {0};
  struct volume_map volumes = {0};
  AUTO_BUFFER out = {0};
  bool good = site_load(CONFIG_DIRECTORY, &config, &why) && modules_select(&config, asked->modules, &modules, &why) &&
              volumes_select(&config, &modules, asked->volumes, &volumes, &why) && (!has_cache(&volumes) || caches_allowed(&config, &volumes, &why));
  if (good)
    show_request(&out, &modules, &volumes);
  else
    show_refusal(&out, &why);
  volume_map_free(&volumes);
  modules_free(&modules);
  config_free(&config);
  return put(&out, good ? 0 : error_exit(why.code));
}

struct report {
  struct buffer out;
  bool ok;
};

static void add(struct report *report, const char *name, bool ok, const char *detail, bool advice) {
  struct buffer *out = &report->out;
  buffer_print(out, "%s{%s\"detail\":", out->length > 0 ? "," : "", advice ? "\"advice\":true," : "");
  json_text(out, detail);
  buffer_text(out, ",\"name\":");
  json_text(out, name);
  buffer_print(out, ",\"ok\":%s}", ok ? "true" : "false");
  report->ok = report->ok && (ok || advice);
}

static void add_check(struct report *report, const char *name, bool ok, const char *detail) {
  add(report, name, ok, detail, false);
}

static void check_kernel(struct report *report) {
  struct utsname name;
  unsigned major = 0, minor = 0;
  bool ok = uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2 && (major > 5 || (major == 5 && minor >= 14));
  add_check(report, "kernel", ok, name.release);
}

// A file system that is a module is loaded at its first mount, so its absence from the list alone is no answer.
static void check_filesystem(struct report *report, const char *filesystem) {
  AUTO_FD list = open("/proc/filesystems", O_RDONLY | O_CLOEXEC);
  AUTO_BUFFER content = {0}, module = {0};
  bool known = list >= 0 && read_all(list, 65536, &content);
  AUTO_WORDS words = {0};
  if (known) words_add_split(&words, content.at, " \t\n");
  known = known && words_hold(&words, filesystem);
  struct utsname name;
  struct stat status;
  if (!known && uname(&name) == 0) {
    buffer_print(&module, "/lib/modules/%s/kernel/fs/%s%s", name.release, filesystem, strcmp(filesystem, "overlay") == 0 ? "fs" : "");
    known = stat(module.at, &status) == 0;
  }
  add_check(report, filesystem, known, known ? "available" : "the kernel does not know it");
}

static void check_loop(struct report *report) {
  struct stat status;
  bool ok = stat("/dev/loop-control", &status) == 0 && S_ISCHR(status.st_mode);
  add_check(report, "loop-control", ok, ok ? "/dev/loop-control" : "/dev/loop-control is missing; load the loop module");
}

static bool check_program(struct report *report) {
  struct stat status;
  bool there = stat(SHIFTER_PROGRAM, &status) == 0;
  bool ok = there && S_ISREG(status.st_mode) && status.st_uid == 0 && (status.st_mode & S_ISUID) != 0 && (status.st_mode & 0022) == 0;
  add_check(report, "shifter", ok, ok ? SHIFTER_PROGRAM : SHIFTER_PROGRAM " is not installed owned by root with mode 4755");
  return ok;
}

// Where there is a setuid program nobody has to do without, so these are advice then.
static void check_unprivileged(struct report *report, bool advice) {
  static const struct {
    const char *name;
    bool (*ask)(struct buffer *detail);
  } needs[] = {{"squashfuse", squashfuse_found}, {"fuse", fuse_is_open}, {"user-namespaces", namespaces_work}};
  for (size_t i = 0; i < COUNT_OF(needs); i++) {
    AUTO_BUFFER detail = {0};
    bool ok = needs[i].ask(&detail);
    add(report, needs[i].name, ok, detail.at, advice);
  }
}

// `owned`: which setting says the owner, or an empty text.
static void check_directory(struct report *report, const char *name, const char *path, uid_t owner, const char *owned) {
  AUTO_FREE char *unsafe = NULL;
  AUTO_FD fd = -1;
  AUTO_BUFFER detail = {0};
  enum walk walk = walk_protected(path, owner, &fd, &unsafe);
  if (walk == WALK_OK)
    buffer_text(&detail, path);
  else if (walk == WALK_UNSAFE)
    buffer_print(&detail, "%s%s", unsafe, owned);
  else
    buffer_print(&detail, "%s: %s", path, strerror(errno));
  add_check(report, name, walk == WALK_OK, detail.at);
}

static void check_settings(struct report *report, const struct config *config) {
  AUTO_BUFFER detail = {0};
  AUTO_WORDS wrong = {0};
  struct failure why;
  bool ok = site_check(config, &wrong, &why);
  for (size_t i = 0; i < wrong.count; i++) buffer_print(&detail, "%s%s", i > 0 ? "; " : "", wrong.items[i]);
  add_check(report, "settings", ok, ok ? "what they name can be used" : detail.at);
}

// Hooks of the site may bring what it shows.
static void check_presence(struct report *report, const struct config *config) {
  AUTO_BUFFER sources = {0}, accounts = {0};
  bool hooks = config->udiroot[UDIROOT_SITE_PRE_MOUNT_HOOK].text != NULL || config->udiroot[UDIROOT_SITE_POST_MOUNT_HOOK].text != NULL;
  bool there = sources_are_there(config, &sources), known = accounts_are_known(config, &accounts);
  add(report, "siteFs", there, there ? "what is shown of the node is there" : sources.at, hooks);
  add_check(report, "usersToImport", known, known ? "the accounts are known" : accounts.at);
}

static int check_node(void) {
  struct report report = {.ok = true};
  struct config config = {0};
  struct failure why;
  check_kernel(&report);
  check_filesystem(&report, "squashfs");
  check_filesystem(&report, "overlay");
  check_loop(&report);
  check_unprivileged(&report, check_program(&report));
  bool loaded = site_load(CONFIG_DIRECTORY, &config, &why);
  AUTO_BUFFER detail = {0}, out = {0};
  if (!loaded) buffer_print(&detail, "%s: %s", error_name(why.code), why.what);
  add_check(&report, "configuration", loaded, loaded ? CONFIG_DIRECTORY : detail.at);
  if (loaded) {
    check_settings(&report, &config);
    check_presence(&report, &config);
    check_directory(&report, "udiMount", config.udiroot[UDIROOT_UDI_MOUNT].text, 0, "");
    if (site_uses_etc(&config)) check_directory(&report, "etcPath", config.udiroot[UDIROOT_ETC_PATH].text, 0, "");
    uid_t owner = (uid_t)config.runtime[RUNTIME_IMAGE_OWNER].number;
    AUTO_BUFFER owned = {0};
    buffer_print(&owned, "; runtime.conf says imageOwner=%u", owner);
    check_directory(&report, "imagePath", config.udiroot[UDIROOT_IMAGE_PATH].text, owner, owned.at);
    config_free(&config);
  }
  buffer_print(&out, "{\"checks\":[%s],\"ok\":%s}", report.out.at, report.ok ? "true" : "false");
  buffer_free(&report.out);
  return put(&out, report.ok ? 0 : 1);
}

static int answer(const struct check_arguments *request, const char *verb, const char *operand) {
  if (request->mode == MODE_HELP) return fputs(shifter_check_options.help, stdout) < 0;
  if (request->mode == MODE_VERSION) return puts("shifter-check " PROGRAM_VERSION) < 0;
  if (request->batch != NULL && verb == NULL) return check_batch(request->batch);
  if (verb == NULL) return usage("what to check is not named");
  if (strcmp(verb, "config") == 0) return check_config(operand, request->json);
  if (strcmp(verb, "node") == 0 && operand == NULL) return check_node();
  if (strcmp(verb, "request") == 0 && operand == NULL) return check_request(request);
  if (operand == NULL) return usage("what to read is not named");
  if (strcmp(verb, "ref") == 0 || strcmp(verb, "volume") == 0 || strcmp(verb, "siteFs") == 0) return check_text(verb, operand, request->default_type);
  static const char *const files[] = {"record", "name", "meta", "root"};
  for (size_t i = 0; i < COUNT_OF(files); i++)
    if (strcmp(verb, files[i]) == 0) return check_file(verb, operand);
  return usage("this can't be checked");
}

int main(int argc, char **argv) {
  struct check_arguments request = {.default_type = "docker"};
  struct failure why = {.code = ERROR_USAGE};
  int index = 1; // options stand before the verb and after it
  if (!options_parse(&shifter_check_options, argc, argv, &request, &index, &why)) return put_failure(&why);
  const char *verb = index < argc ? argv[index++] : NULL;
  if (verb != NULL && !options_parse(&shifter_check_options, argc, argv, &request, &index, &why)) return put_failure(&why);
  if (index + 1 < argc) return usage("there is more than one operand");
  return answer(&request, verb, index < argc ? argv[index] : NULL);
}
