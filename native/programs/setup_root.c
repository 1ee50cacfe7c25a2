// setupRoot: prepares the root of a job on this node. For root alone, before the job's first process.
#include <string.h>
#include <unistd.h>

#include "mechanism/prepared.h"
#include "mechanism/process.h"
#include "policy/setup_arguments.h"
#include "programs/for_root.h"

int main(int argc, char **argv) {
  static struct setup_arguments arguments;
  static struct root_plan plan = EMPTY_PLAN;
  struct failure why = {.code = ERROR_INTERNAL};

  if (!standard_descriptors_open()) _exit(error_exit(ERROR_RESOURCE));
  bool parsed = setup_arguments_parse(argc, argv, &arguments, &why);
  if (parsed) answer_simple(arguments.mode, &setup_root_options);
  struct failure usage = why;
  report_on("setupRoot", arguments.report);
  if (!parsed) refuse(&usage);
  root_only();

  AUTO_BUFFER image = {0};
  bool resolve = arguments.mode == MODE_RESOLVE;
  if (!resolve) buffer_print(&image, "%s:%s", arguments.type, arguments.id);
  const struct root_request asked = {.image = resolve ? arguments.image : image.at, .volumes = arguments.volumes, .modules = arguments.modules};
  plan.who = (struct identity){.uid = arguments.uid, .gid = arguments.gid};
  plan.user = arguments.user == NULL ? "" : arguments.user;
  if (!plan_begin(&asked, &plan, &why)) refuse(&why);
  if (resolve) {
    AUTO_BUFFER line = {0};
    if (!plan_identify(&plan, &why) || !plan_open_image(&plan, &why)) refuse(&why);
    buffer_print(&line, "%s\n", plan.image.id);
    print_and_exit(line.at);
  }
  check_site(&plan.config);
  const struct preparation preparation = {run_directory(&plan.config, arguments.run_directory), arguments.job, arguments.verbose,
                                          &arguments.hostsfile, &plan};
  if (!prepared_set_up(&preparation, &why)) refuse(&why);
  return 0;
}
