// unsetupRoot: takes down what setupRoot prepared, and lists it. For root alone.
#include <unistd.h>

#include "mechanism/prepared.h"
#include "mechanism/process.h"
#include "mechanism/site.h"
#include "policy/setup_arguments.h"
#include "programs/for_root.h"

int main(int argc, char **argv) {
  static struct unsetup_arguments arguments;
  static struct config config;
  struct failure why = {.code = ERROR_INTERNAL};
  AUTO_BUFFER uid = {0}, list = {0};

  if (!standard_descriptors_open()) _exit(error_exit(ERROR_RESOURCE));
  bool parsed = unsetup_arguments_parse(argc, argv, &arguments, &why);
  if (parsed) answer_simple(arguments.mode, &unsetup_root_options);
  struct failure usage = why;
  report_on("unsetupRoot", arguments.report);
  if (!parsed) refuse(&usage);
  root_only();

  // A directory that root names will do: what the configuration names no longer, or can't be read for, is cleared all the same.
  const char *place = arguments.run_directory;
  if (place != NULL && *place != '/') refuse((fail(&why, ERROR_USAGE, "--run-directory=%s is no absolute path", place), &why));
  if (place == NULL && !site_load(CONFIG_DIRECTORY, &config, &why)) refuse(&why);
  if (place == NULL) place = run_directory(&config, NULL);
  if (arguments.has_uid) buffer_print(&uid, "%u", arguments.uid);
  if (arguments.mode == MODE_LIST) {
    prepared_list(place, arguments.has_job ? arguments.job : NULL, uid.at, &list);
    print_and_exit(list.at);
  }
  if (!prepared_tear_down(place, arguments.job, uid.at, &why)) refuse(&why);
  return 0;
}
