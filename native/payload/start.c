#include "payload/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "payload/command.h"
#include "payload/compose.h"
#include "payload/explain.h"

#define ENV_FILE_BYTES (4 << 20)

static bool select_program(struct start *start, struct failure *why) {
  const struct arguments *arguments = start->arguments;
  const struct image_facts *facts = &start->plan->image.facts;
  if (arguments->use_workdir && arguments->workdir == NULL && facts->workdir == NULL) return fail(why, ERROR_NO_WORKDIR, "--workdir without a value needs an image with a working directory");
  struct arguments chosen = *arguments;
  command_entrypoint(&chosen, start->environment);
  return command_select(&chosen, facts, &start->argv, why);
}

static bool enter_directory(const struct start *start, struct failure *why) {
  const struct arguments *arguments = start->arguments;
  if (arguments->use_workdir) {
    const char *wanted = arguments->workdir != NULL ? arguments->workdir : start->plan->image.facts.workdir;
    if (chdir(wanted) == 0) return true;
    return fail(why, ERROR_WORKDIR_UNUSABLE, "%s: %s", wanted, strerror(errno));
  }
  const char *wanted = start->inherited->directory;
  if (wanted != NULL && chdir(wanted) == 0) return true;
  AUTO_BUFFER line = {0};
  buffer_text(&line, "shifter: warning: the working directory ");
  buffer_visible(&line, wanted == NULL ? "here" : wanted);
  buffer_text(&line, " does not exist inside the image; starting in /\n");
  write_message(&line);
  return chdir("/") == 0 || fail(why, ERROR_WORKDIR_UNUSABLE, "/: %s", strerror(errno));
}

static bool read_env_file(const char *path, struct words *settings, struct failure *why) {
  AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  AUTO_BUFFER content = {0};
  if (fd < 0 || !read_all(fd, ENV_FILE_BYTES, &content)) return fail(why, ERROR_ENV_FILE_UNREADABLE, "--env-file=%s, inside the image: %s", path, strerror(errno));
  return environment_parse_file(settings, content.at, content.length, path, why);
}

static bool read_env_files(const struct start *start, struct words *settings, struct failure *why) {
  const struct words *files = &start->arguments->env_files;
  for (size_t i = 0; i < files->count; i++)
    if (!read_env_file(files->items[i], settings, why)) return false;
  return true;
}

static struct environment_sources sources_of(const struct start *start, const struct words *file) {
  const struct root_plan *plan = start->plan;
  const char *asked = arguments_request(start->arguments, start->environment);
  return (struct environment_sources){
      .caller = start->arguments->clear_environment ? NULL : start->environment,
      .request = asked != NULL ? asked : plan->request,
      .image = plan->image.id,
      .image_env = &plan->image.facts.env,
      .file = file,
      .options = &start->arguments->env,
      .modules = &plan->modules,
      .site = plan->config.udiroot,
  };
}

// Gives back what the caller had, right before exec.
static bool restore(const struct inherited *inherited, struct failure *why) {
  umask(inherited->umask);
  for (int i = 0; i < (int)RLIM_NLIMITS; i++) {
    struct rlimit now;
    const struct rlimit *had = &inherited->limits[i];
    if (getrlimit((__rlimit_resource_t)i, &now) == 0 && now.rlim_cur == had->rlim_cur && now.rlim_max == had->rlim_max) continue;
    if (setrlimit((__rlimit_resource_t)i, had) != 0) return fail(why, ERROR_DROP_FAILED, "limit %d could not be given back", i);
  }
  if (sigaction(SIGCHLD, &inherited->child, NULL) != 0 || sigprocmask(SIG_SETMASK, &inherited->mask, NULL) != 0)
    return fail(why, ERROR_DROP_FAILED, "signals could not be given back");
  return true;
}

static _Noreturn void become_hook(const struct start *start, const char *hook) {
  struct failure why;
  if (restore(start->inherited, &why)) execve("/bin/sh", (char *const[]){(char[]){"/bin/sh"}, memory_copy(hook, strlen(hook)), NULL}, environ);
  _exit(127);
}

// A module's script may prepare what the program needs, so a program is not run without it.
static bool run_user_hook(const struct start *start, const struct module *module, struct failure *why) {
  const char *hook = module->values[MODULE_USERHOOK].text;
  int status = 0;
  if (hook == NULL) return true;
  pid_t child = fork();
  if (child == 0) become_hook(start, hook);
  while (child > 0 && waitpid(child, &status, 0) < 0)
    if (errno != EINTR) child = -1;
  if (child < 0) return fail(why, ERROR_RESOURCE, "module '%s': its userhook: %s", module->name, strerror(errno));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  return fail(why, ERROR_MODULE_FAILED, "module '%s': its userhook %s ended with %s %d inside the image", module->name, hook,
              WIFEXITED(status) ? "status" : "signal", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static bool run_user_hooks(const struct start *start, struct failure *why) {
  for (size_t i = 0; i < start->plan->modules.count; i++)
    if (!run_user_hook(start, start->plan->modules.items[i], why)) return false;
  return true;
}

static void run_composed(const struct start *start, const struct composition *made, struct failure *why) {
  static char *nothing[] = {NULL};
  AUTO_WORDS environment = {0};
  composition_apply(made, &environment);
  // The C library searches the PATH of the environment the program gets, not the caller's.
  environ = environment.items == NULL ? nothing : environment.items;
  if (run_user_hooks(start, why) && restore(start->inherited, why)) {
    execvpe(start->argv.items[0], start->argv.items, environ);
    fail(why, ERROR_EXEC_FAILED, "%s: %s", start->argv.items[0], strerror(errno));
  }
  environ = nothing;
}

void start_program(struct start *start, struct failure *why) {
  AUTO_WORDS file = {0};
  struct composition made;
  if (!select_program(start, why) || !enter_directory(start, why) || !read_env_files(start, &file, why)) return;
  const struct environment_sources sources = sources_of(start, &file);
  composition_make(&made, &sources);
  if (start->arguments->explain)
    explain_and_exit(start, &made);
  else
    run_composed(start, &made, why);
  composition_free(&made);
}
