#include "payload/explain.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "limits.gen.h"
#include "mechanism/open.h"
#include "policy/environment.h"
#include "policy/path.h"

#define MOUNTINFO_BYTES (16 << 20)

static void line(struct buffer *out, const char *kind, const char *value, const char *origin) {
  buffer_print(out, "%s\t", kind);
  buffer_visible(out, value);
  buffer_byte(out, '\t');
  buffer_visible(out, origin);
  buffer_byte(out, '\n');
}

// --- Mounts: what the kernel says is mounted, named by what the plan put there ---

struct origin {
  char *to, *text;
};
struct origins {
  struct origin *items;
  size_t count;
};

static void PRINTF_LIKE(3, 4) note(struct origins *origins, const char *to, const char *format, ...) {
  AUTO_BUFFER text = {0};
  va_list arguments;
  va_start(arguments, format);
  buffer_print_list(&text, format, arguments);
  va_end(arguments);
  // A link of the image may have led it elsewhere.
  char *real = realpath(to, NULL);
  origins->items = memory_resize(origins->items, origins->count + 1, sizeof *origins->items);
  origins->items[origins->count++] = (struct origin){real != NULL ? real : memory_copy(to, strlen(to)), steal(&text.at)};
}

static void note_map(struct origins *origins, const struct volume_map *map, const struct module *module, const char *key, unsigned at) {
  for (size_t i = 0; i < map->count; i++) {
    AUTO_BUFFER text = {0}, where = {0};
    volume_text(&map->items[i], &text);
    if (at > 0) buffer_print(&where, " (udiRoot.conf:%u)", at);
    note(origins, map->items[i].to, "%s%s%s%s%s %s", module == NULL ? "" : "module_", module == NULL ? "" : module->name, module == NULL ? "" : "_", key,
         where.at == NULL ? "" : where.at, text.at);
  }
}

static void note_module(struct origins *origins, const struct module *module) {
  const struct conf_value *copy = &module->values[MODULE_COPY_PATH], *site = &module->values[MODULE_SITE_FS];
  AUTO_BUFFER to = {0};
  buffer_print(&to, "/opt/udiImage/modules/%s", module->name);
  if (copy->text != NULL) note(origins, to.at, "module_%s_copyPath (udiRoot.conf:%u) %s", module->name, copy->line, copy->text);
  note_map(origins, &site->volumes, module, "siteFs", site->line);
}

// The variable that a setting of the caller's comes from, if it is set: the plain one, or its twin of the workload manager's plugin.
static bool add_variable(struct buffer *out, char *const *environment, const char *name) {
  static const char *const prefixes[] = {"", "SLURM_SPANK_"};
  for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
    AUTO_BUFFER whole = {0};
    buffer_print(&whole, "%s%s", prefixes[i], name);
    const char *value = environment_value(environment, whole.at);
    if (value == NULL || *value == '\0') continue;
    buffer_text(out, whole.at);
    return true;
  }
  return false;
}

// In the order in which they are mounted: of two on one place the later is seen.
static void note_all(struct origins *origins, const struct start *start, const struct account *caller) {
  static const char *const of_host[] = {"/tmp", "/var/tmp", "/proc", "/sys", "/dev"};
  const struct root_plan *plan = start->plan;
  const struct conf_value *conf = plan->config.udiroot, *opt = &conf[UDIROOT_OPT_UDI_IMAGE];
  note(origins, "/", "the image %s%s", plan->image.local ? "" : "id:", plan->image.id);
  for (size_t i = 0; i < COUNT_OF(of_host); i++) note(origins, of_host[i], "the host's %s", of_host[i]);
  if (caller->home != NULL) note(origins, caller->home, "the home directory (mountHome of runtime.conf)");
  note_map(origins, &conf[UDIROOT_SITE_FS].volumes, NULL, "siteFs", conf[UDIROOT_SITE_FS].line);
  if (opt->text != NULL) note(origins, "/opt/udiImage", "optUdiImage (udiRoot.conf:%u) %s", opt->line, opt->text);
  for (size_t i = 0; i < plan->modules.count; i++) note_module(origins, plan->modules.items[i]);
  AUTO_BUFFER variable = {0};
  add_variable(&variable, start->environment, "SHIFTER_VOLUME");
  note_map(origins, &plan->volumes, NULL, start->arguments->volumes != NULL ? "--volume" : variable.at, 0);
}

// The last one at the place, or else the nearest above it.
static void origin_of(const struct origins *origins, const char *path, struct buffer *out) {
  const struct origin *nearest = NULL;
  for (size_t i = 0; i < origins->count; i++)
    if (path_is_within(path, origins->items[i].to) && (nearest == NULL || strlen(origins->items[i].to) >= strlen(nearest->to))) nearest = &origins->items[i];
  if (nearest == NULL) return;
  buffer_print(out, "%s%s", strcmp(nearest->to, path) == 0 ? "" : "below ", nearest->text);
}

// The kernel writes blanks, tabs, newlines and backslashes as \ooo.
static void decode(char *text) {
  char *to = text;
  for (const char *at = text; *at != '\0';) {
    bool coded = at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' && at[2] <= '7' && at[3] >= '0' && at[3] <= '7';
    unsigned code = coded ? (unsigned)(at[1] - '0') << 6 | (unsigned)(at[2] - '0') << 3 | (unsigned)(at[3] - '0') : (unsigned char)*at;
    *to++ = (char)code;
    at += coded ? 4 : 1;
  }
  *to = '\0';
}

// "ID PARENT DEVICE ROOT PLACE OPTIONS ... - TYPE SOURCE OPTIONS"; the last are the file system's own, and count too.
static void explain_mount(struct buffer *out, const struct origins *origins, const char *text) {
  AUTO_WORDS fields = {0};
  AUTO_BUFFER value = {0}, origin = {0};
  words_add_split(&fields, text, " ");
  size_t dash = 6;
  while (dash < fields.count && strcmp(fields.items[dash], "-") != 0) dash++;
  if (dash + 1 >= fields.count) return;
  decode(fields.items[4]);
  const char *flags = fields.items[5], *of_all = fields.items[fields.count - 1];
  bool read_only = strncmp(flags, "rw", 2) == 0 && strncmp(of_all, "ro", 2) == 0 && (of_all[2] == ',' || of_all[2] == '\0');
  buffer_print(&value, "%s %s %s%s", fields.items[4], fields.items[dash + 1], read_only ? "ro" : "", flags + (read_only ? 2 : 0));
  origin_of(origins, fields.items[4], &origin);
  line(out, "mount", value.at, origin.at == NULL ? "" : origin.at);
}

static void explain_mounts(struct buffer *out, const struct start *start, const struct account *caller) {
  struct origins origins = {0};
  AUTO_BUFFER content = {0};
  AUTO_WORDS lines = {0};
  AUTO_FD fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  note_all(&origins, start, caller);
  if (fd >= 0 && read_all(fd, MOUNTINFO_BYTES, &content)) words_add_split(&lines, content.at, "\n");
  for (size_t i = 0; i < lines.count; i++) explain_mount(out, &origins, lines.items[i]);
  for (size_t i = 0; i < origins.count; i++) {
    free(origins.items[i].to);
    free(origins.items[i].text);
  }
  free(origins.items);
}

// --- The rest ---

static bool is_joined(const struct start *start) {
  return start->plan->accounts.caller.name == NULL; // who joins a root asks nobody for accounts
}

// The account as a joined root has it, which was made for this user.
static bool find_account(uint32_t uid, struct account *out) {
  AUTO_BUFFER content = {0};
  AUTO_WORDS lines = {0};
  AUTO_FD fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || !read_all(fd, LIMIT_ACCOUNT_REPLY_BYTES, &content) || content.at == NULL) return false;
  words_add_split(&lines, content.at, "\n");
  for (size_t i = 0; i < lines.count; i++) {
    if (passwd_parse_line(lines.items[i], strlen(lines.items[i]), out) && out->uid == uid) return true;
    account_free(out);
  }
  return false;
}

static void explain_identity(struct buffer *out, const struct start *start, const struct account *caller) {
  const struct root_plan *plan = start->plan;
  AUTO_BUFFER text = {0}, groups = {0};
  buffer_print(&text, "uid %u (%s) gid %u", plan->who.uid, caller->name == NULL ? "?" : caller->name, plan->who.gid);
  line(out, "identity", text.at, "the caller");
  for (size_t i = 0; i < plan->who.groups.count; i++) buffer_print(&groups, "%s%u", i == 0 ? "" : " ", plan->who.groups.items[i]);
  line(out, "groups", groups.at == NULL ? "" : groups.at, "the caller");
}

static void explain_modules(struct buffer *out, const struct start *start) {
  const struct conf_value *defaults = &start->plan->config.udiroot[UDIROOT_DEFAULT_MODULES];
  AUTO_BUFFER origin = {0};
  if (start->arguments->modules != NULL)
    buffer_text(&origin, "--module");
  else if (!add_variable(&origin, start->environment, "SHIFTER_MODULE"))
    buffer_print(&origin, "defaultModules (udiRoot.conf:%u)", defaults->line);
  for (size_t i = 0; i < start->plan->modules.count; i++) line(out, "module", start->plan->modules.items[i]->name, origin.at);
}

static void explain_program(struct buffer *out, const struct start *start) {
  const struct arguments *arguments = start->arguments;
  AUTO_FREE char *directory = getcwd(NULL, 0);
  line(out, "directory", directory == NULL ? "?" : directory, !arguments->use_workdir ? "the caller" : arguments->workdir != NULL ? "--workdir" : "the image");
  size_t given_words = 0;
  while (arguments->command[given_words] != NULL) given_words++;
  size_t before = start->argv.count - given_words;
  for (size_t i = 0; i < start->argv.count; i++) {
    const char *chosen = !arguments->use_entrypoint ? "shifter (no command was given)" : arguments->entrypoint != NULL ? "--entrypoint" : "the image";
    line(out, "argument", start->argv.items[i], i < before ? chosen : "the command line");
  }
}

_Noreturn void explain_and_exit(const struct start *start, const struct composition *environment) {
  const struct root_plan *plan = start->plan;
  AUTO_BUFFER out = {0};
  AUTO_WORDS variables = {0};
  struct account found = {0};
  const struct account *caller = &plan->accounts.caller;
  if (is_joined(start) && find_account(plan->who.uid, &found)) caller = &found;
  const char *made = plan->writable ? "--writable (writableSize of runtime.conf)" : is_joined(start) ? "prepared by setupRoot" : "the default";
  AUTO_BUFFER named = {0};
  buffer_print(&named, "%s by ", plan->request);
  if (start->arguments->image != NULL)
    buffer_text(&named, "--image");
  else if (!add_variable(&named, start->environment, "SHIFTER_IMAGE"))
    add_variable(&named, start->environment, "SHIFTER_IMAGEREQUEST");
  line(&out, "image", plan->image.id, named.at);
  line(&out, "root", plan->writable ? "writable" : "read-only", made);
  explain_identity(&out, start, caller);
  explain_modules(&out, start);
  explain_mounts(&out, start, caller);
  explain_program(&out, start);
  composition_apply(environment, &variables);
  for (size_t i = 0; i < variables.count; i++) {
    AUTO_BUFFER origin = {0};
    composition_origin(environment, variables.items[i], &origin);
    line(&out, "variable", variables.items[i], origin.at);
  }
  _exit(write_all(STDOUT_FILENO, out.at, out.length) ? 0 : error_exit(ERROR_RESOURCE));
}
