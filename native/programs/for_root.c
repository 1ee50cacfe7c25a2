#include "programs/for_root.h"

#include <linux/close_range.h>
#include <string.h>
#include <unistd.h>

#include "mechanism/descriptors.h"
#include "mechanism/identity.h"
#include "mechanism/open.h"
#include "mechanism/process.h"
#include "mechanism/site.h"

static const char *name = "setupRoot";
static int report_fd = -1;

_Noreturn void refuse(const struct failure *why) {
  AUTO_BUFFER told = {0}, line = {0};
  failure_report(why, &told);
  failure_line(why, name, &line);
  if (report_fd < 0 || !write_all(report_fd, told.at, told.length)) write_message(&line);
  _exit(error_exit(why->code));
}

_Noreturn void print_and_exit(const char *text) {
  _exit(write_all(STDOUT_FILENO, text, strlen(text)) ? 0 : error_exit(ERROR_RESOURCE));
}

void answer_simple(enum mode mode, const struct option_table *table) {
  if (mode == MODE_HELP) print_and_exit(table->help);
  AUTO_BUFFER line = {0};
  buffer_print(&line, "%s " PROGRAM_VERSION "\n", table->program);
  if (mode == MODE_VERSION) print_and_exit(line.at);
}

void report_on(const char *program, int fd) {
  struct failure why;
  name = program;
  if (fd >= 0 && !report_take(fd, &why)) refuse(&why);
  report_fd = fd;
}

void root_only(void) {
  static char *nothing[] = {NULL};
  static struct inherited inherited;
  struct failure why;
  if (getuid() != 0 || geteuid() != 0) refuse((fail(&why, ERROR_NOT_ROOT, "uid %u, effective uid %u", getuid(), geteuid()), &why));
  environ = nothing;
  // A program that knows nothing of us may have left anything open, and look-ups are done by a child with the job user's rights.
  unsigned after = report_fd < 0 ? 3 : (unsigned)report_fd + 1;
  bool closed = (report_fd <= 3 || close_range(3, (unsigned)report_fd - 1, 0) == 0) && close_range(after, ~0U, 0) == 0;
  if (!closed) refuse((fail(&why, ERROR_KERNEL_UNSUPPORTED, "close_range"), &why));
  if (!inherited_take(&inherited, &why) || !become_root(&why)) refuse(&why);
}

const char *run_directory(const struct config *config, const char *asked) {
  const struct words *places = &config->runtime[RUNTIME_RUN_DIRECTORY].words;
  struct failure why;
  if (places->count == 0) refuse((fail(&why, ERROR_UDIROOT_CONF_INVALID, "runtime.conf: runDirectory is empty, so that roots can't be prepared"), &why));
  if (asked == NULL || words_hold(places, asked)) return asked == NULL ? places->items[0] : asked;
  refuse((fail(&why, ERROR_USAGE, "--run-directory=%s is none of runDirectory in runtime.conf", asked), &why));
}

void check_site(const struct config *config) {
  AUTO_BUFFER lines = {0};
  AUTO_WORDS wrong = {0};
  struct failure why;
  for (size_t i = 0; i < config->warnings.count; i++) {
    buffer_print(&lines, "%s: warning: ", name);
    buffer_visible(&lines, config->warnings.items[i]);
    buffer_byte(&lines, '\n');
  }
  write_message(&lines);
  if (!site_check(config, &wrong, &why)) refuse(&why);
}
