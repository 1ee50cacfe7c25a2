// shifter: runs a program with an image as its root. Installed setuid root; each operation's comment says what it relies on.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mechanism/accounts.h"
#include "mechanism/descriptors.h"
#include "mechanism/drop.h"
#include "mechanism/etc_files.h"
#include "mechanism/identity.h"
#include "mechanism/image.h"
#include "mechanism/open.h"
#include "mechanism/process.h"
#include "mechanism/root.h"
#include "mechanism/site.h"
#include "mechanism/start.h"
#include "policy/arguments.h"
#include "policy/reference.h"

struct session {
  struct arguments arguments;
  struct identity who;
  struct inherited inherited;
  struct config config;
  struct accounts accounts;
  struct image_reference reference;
  struct image image;
  struct etc_files etc;
  struct words argv;
  char *request, *shown;
  char *const *environment;
};

// Where a refusal is told: a descriptor that report_take has taken, or -1 for standard error.
static int report_fd = -1;

static bool report(const struct failure *why) {
  AUTO_BUFFER line = {0};
  if (report_fd < 0) return false;
  buffer_print(&line, "%s ", error_name(why->code));
  buffer_visible(&line, why->what);
  buffer_byte(&line, '\n');
  return write_all(report_fd, line.at, line.length);
}

// Nothing is printed with root's rights: what descriptors 1 and 2, and that of a report, are is the caller's choice.
static _Noreturn void finish(const struct failure *why) {
  AUTO_BUFFER line = {0};
  if (report(why)) _exit(error_exit(why->code));
  failure_line(why, "shifter", &line);
  write_message(&line);
  _exit(error_exit(why->code));
}

static _Noreturn void finish_as(const struct identity *who, const struct failure *why) {
  if (geteuid() == 0 && who->uid != 0 && !drop_ids(who)) _exit(error_exit(ERROR_DROP_FAILED));
  finish(why);
}

static _Noreturn void print_and_exit(const char *text) {
  bool written = write_all(STDOUT_FILENO, text, strlen(text));
  _exit(written ? 0 : error_exit(ERROR_RESOURCE));
}

// --help and --version need no rights and work in any installation.
static void answer_simple(const struct arguments *arguments, const struct identity *who) {
  if (arguments->mode != MODE_HELP && arguments->mode != MODE_VERSION) return;
  if (geteuid() == 0 && who->uid != 0 && !drop_ids(who)) _exit(error_exit(ERROR_DROP_FAILED));
  print_and_exit(arguments->mode == MODE_HELP ? shifter_options.help : "shifter " PROGRAM_VERSION "\n");
}

// What the reference is asked as, with its type: the value of SHIFTER_IMAGEREQUEST.
static char *request_text(const struct image_reference *reference) {
  AUTO_BUFFER text = {0};
  buffer_print(&text, "%s:%s", image_type_name(reference->type), reference->reference);
  return steal(&text.at);
}

static bool find_image(struct session *session, struct failure *why) {
  const struct config *config = &session->config;
  const char *default_type = config->udiroot[UDIROOT_DEFAULT_IMAGE_TYPE].text;
  if (!reference_parse(session->request, strlen(session->request), default_type, &session->reference, why)) return false;
  session->shown = request_text(&session->reference);
  return image_open(config, &session->reference, session->shown, &session->who, &session->image, why);
}

static void print_warnings(const struct session *session) {
  AUTO_BUFFER lines = {0};
  for (size_t i = 0; i < session->config.warnings.count; i++) {
    buffer_text(&lines, "shifter: warning: ");
    buffer_visible(&lines, session->config.warnings.items[i]);
    buffer_byte(&lines, '\n');
  }
  write_message(&lines);
}

static bool select_program(struct session *session, struct failure *why) {
  const struct arguments *arguments = &session->arguments;
  if (arguments->use_workdir && arguments->workdir == NULL && session->image.facts.workdir == NULL)
    return fail(why, ERROR_NO_WORKDIR, "'%s'", session->shown);
  return command_select(arguments, &session->image.facts, &session->argv, why);
}

static bool prepare(struct session *session, struct failure *why) {
  // Accounts first: their child, which is the user, inherits no descriptor of an image.
  return site_load(CONFIG_DIRECTORY, &session->config, why) &&
         accounts_look_up(&session->config, &session->who, &session->accounts, why) && find_image(session, why) && select_program(session, why) &&
         etc_files_collect(&session->config, &session->accounts, &session->who, &session->etc, why);
}

static bool enter(struct session *session, struct failure *why) {
  const struct root_plan plan = {&session->config, &session->who, &session->image, &session->etc, session->accounts.caller.home};
  if (!root_enter(&plan, why)) return false;
  cleanup_fd(&session->image.fd);
  return drop_privileges(&session->who, why);
}

static _Noreturn void resolve(struct session *session, struct failure *why) {
  if (!site_load(CONFIG_DIRECTORY, &session->config, why) || !find_image(session, why)) finish_as(&session->who, why);
  if (!drop_privileges(&session->who, why)) finish(why);
  AUTO_BUFFER line = {0};
  buffer_print(&line, "%s\n", session->image.id);
  print_and_exit(line.at);
}

static _Noreturn void run(struct session *session, struct failure *why) {
  if (!prepare(session, why) || !enter(session, why)) finish_as(&session->who, why);
  print_warnings(session);
  const struct start start = {&session->arguments, &session->config, &session->image.facts, &session->inherited, session->environment,
                              session->shown, session->image.id, &session->argv};
  start_program(&start, why);
  finish(why);
}

int main(int argc, char **argv) {
  // Static, since nothing of it is given back before exec.
  static struct session session = {.image = {.fd = -1}};
  static char *nothing[] = {NULL};
  struct failure why = {.code = ERROR_INTERNAL};

  if (!standard_descriptors_open()) _exit(error_exit(ERROR_RESOURCE));
  session.environment = environ; // data for the program that is run; nothing below looks into it by getenv
  environ = nothing;
  session.who = (struct identity){.uid = getuid(), .gid = getgid()};
  bool parsed = arguments_parse(argc, argv, &session.arguments, &why);
  if (parsed) answer_simple(&session.arguments, &session.who);
  struct failure usage = why;
  int wanted = session.arguments.report;
  if (wanted >= 0 && !report_take(wanted, &why)) finish_as(&session.who, &why);
  report_fd = wanted;

  if (geteuid() != 0) finish((fail(&why, ERROR_NOT_SETUID, "effective uid %u", geteuid()), &why));
  if (!identity_of_caller(&session.who, &why)) finish_as(&session.who, &why);
  if (!parsed) finish_as(&session.who, &usage);
  if (!arguments_image(&session.arguments, session.environment, &session.request, &why)) finish_as(&session.who, &why);
  if (session.arguments.mode == MODE_RUN && !arguments_check_offered(&session.arguments, session.environment, &why)) finish_as(&session.who, &why);

  if (!inherited_take(&session.inherited, &why) || !descriptors_filter(&why) || !become_root(&why)) finish_as(&session.who, &why);
  if (session.arguments.mode == MODE_RESOLVE) resolve(&session, &why);
  run(&session, &why);
}
