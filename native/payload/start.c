#include "payload/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "policy/environment.h"

#define ENV_FILE_BYTES (4 << 20)

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

static bool compose(const struct start *start, struct words *environment, struct failure *why) {
  const struct arguments *arguments = start->arguments;
  const struct conf_value *site = start->plan->config.udiroot;
  AUTO_WORDS file = {0};
  for (size_t i = 0; i < arguments->env_files.count; i++)
    if (!read_env_file(arguments->env_files.items[i], &file, why)) return false;
  const struct environment_sources sources = {
      .caller = arguments->clear_environment ? NULL : start->environment,
      .request = start->plan->request,
      .image = start->plan->image.id,
      .image_env = &start->plan->image.facts.env,
      .file = &file,
      .options = &arguments->env,
      .site_set = &site[UDIROOT_SITE_ENV].words,
      .site_append = &site[UDIROOT_SITE_ENV_APPEND].words,
      .site_prepend = &site[UDIROOT_SITE_ENV_PREPEND].words,
      .site_unset = &site[UDIROOT_SITE_ENV_UNSET].words,
  };
  environment_compose(environment, &sources);
  return true;
}

void start_program(const struct start *start, struct failure *why) {
  static char *nothing[] = {NULL};
  AUTO_WORDS environment = {0};
  if (!enter_directory(start, why) || !compose(start, &environment, why)) return;
  if (!inherited_restore(start->inherited, why)) return;
  // The C library searches the PATH of the environment the program gets, not the caller's.
  environ = environment.items == NULL ? nothing : environment.items;
  execvpe(start->argv->items[0], start->argv->items, environ);
  fail(why, ERROR_EXEC_FAILED, "%s: %s", start->argv->items[0], strerror(errno));
  environ = nothing;
}
