// shifter: runs a program with an image as its root. Installed setuid root; each operation's comment says what it relies on.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mechanism/descriptors.h"
#include "mechanism/drop.h"
#include "mechanism/identity.h"
#include "mechanism/open.h"
#include "mechanism/prepared.h"
#include "mechanism/process.h"
#include "mechanism/rights.h"
#include "mechanism/root.h"
#include "payload/start.h"
#include "policy/arguments.h"

struct session {
  struct arguments arguments;
  struct inherited inherited;
  struct root_plan plan;
  char *asked; // the image
  char *const *environment;
  bool joined; // this process is inside a root that was prepared
};

// Where a refusal is told: a descriptor that report_take has taken, or -1 for standard error.
static int report_fd = -1;

// Nothing is printed with root's rights: what descriptors 1 and 2, and that of a report, are is the caller's choice.
static _Noreturn void finish(const struct failure *why) {
  AUTO_BUFFER told = {0}, line = {0};
  failure_report(why, &told);
  failure_line(why, "shifter", &line);
  if (report_fd < 0 || !write_all(report_fd, told.at, told.length)) write_message(&line);
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

static bool prepare(struct session *session, struct failure *why) {
  const struct arguments *arguments = &session->arguments;
  const struct root_request asked = {.image = session->asked,
                                     .volumes = arguments_volumes(arguments, session->environment),
                                     .modules = arguments_modules(arguments, session->environment),
                                     .writable = arguments->writable};
  AUTO_WORDS jobs = {0};
  if (!plan_begin(&asked, &session->plan, why)) return false;
  job_hints(session->environment, &jobs);
  session->joined = prepared_join(&session->plan, &jobs);
  return session->joined || plan_complete(&session->plan, why);
}

static bool enter(struct session *session, struct failure *why) {
  if (!session->joined && !root_enter(&session->plan, why)) return false;
  cleanup_fd(&session->plan.image.file.fd);
  cleanup_fd(&session->plan.device);
  return drop_privileges(&session->plan.who, why);
}

static _Noreturn void resolve(struct session *session, struct failure *why) {
  const struct root_request asked = {.image = session->asked};
  struct root_plan *plan = &session->plan;
  if (!plan_begin(&asked, plan, why) || !plan_open_image(plan, why)) finish_as(&plan->who, why);
  if (!drop_privileges(&plan->who, why)) finish(why);
  AUTO_BUFFER line = {0};
  buffer_print(&line, "%s\n", plan->image.id);
  print_and_exit(line.at);
}

static _Noreturn void run(struct session *session, struct failure *why) {
  const struct root_plan *plan = &session->plan;
  if (!prepare(session, why) || !enter(session, why)) finish_as(&plan->who, why);
  struct start start = {&session->arguments, plan, &session->inherited, session->environment, {0}};
  start_program(&start, why);
  finish(why);
}

int main(int argc, char **argv) {
  // Static, since nothing of it is given back before exec.
  static struct session session = {.plan = EMPTY_PLAN};
  struct identity *who = &session.plan.who;
  static char *nothing[] = {NULL};
  struct failure why = {.code = ERROR_INTERNAL};

  if (!standard_descriptors_open()) _exit(error_exit(ERROR_RESOURCE));
  session.environment = environment_whole(argc, argv, environ); // data for the program that is run; nothing below looks into it by getenv
  environ = nothing;
  *who = (struct identity){.uid = getuid(), .gid = getgid()};
  bool parsed = arguments_parse(argc, argv, &session.arguments, &why);
  if (parsed) answer_simple(&session.arguments, who);
  struct failure usage = why, lacking;
  bool able = rights_check(argv, session.environment, &lacking);
  int wanted = session.arguments.report;
  if (wanted >= 0 && !report_take(wanted, &why)) finish_as(who, &why);
  report_fd = wanted;

  if (!able) finish(&lacking);
  if (!identity_of_caller(who, &why)) finish_as(who, &why);
  if (!parsed) finish_as(who, &usage);
  if (!arguments_image(&session.arguments, session.environment, &session.asked, &why)) finish_as(who, &why);

  if (!inherited_take(&session.inherited, &why) || !descriptors_filter(&why) || !become_root(&why)) finish_as(who, &why);
  if (session.arguments.mode == MODE_RESOLVE) resolve(&session, &why);
  run(&session, &why);
}
