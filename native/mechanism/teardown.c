#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "mechanism/open.h"
#include "mechanism/pins.h"
#include "mechanism/prepared.h"

#define ATTEMPTS 1000

static bool is_unlocked(int directory) {
  return flock(directory, LOCK_EX | LOCK_NB) == 0;
}

// Pins first, then what names them, then the directory; once more if a preparer was quicker. Who comes too late to publish has to take
// back what it made.
static bool tear_down_user(int run, const struct pins *pins, const char *job, const char *uid, struct failure *why) {
  AUTO_FD above = job_open(run, job, NULL);
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    pins_sweep(pins, job, uid, NULL);
    AUTO_FD directory = job_open(run, job, uid);
    if (directory < 0 && errno == ENOENT) return true;
    if (directory < 0) break;
    AUTO_WORDS names = {0};
    names_in(directory, true, &names);
    for (size_t i = 0; i < names.count; i++) unlinkat(directory, names.items[i], 0);
    if (above >= 0 && unlinkat(above, uid, AT_REMOVEDIR) == 0) return true;
    if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT) break;
  }
  return fail(why, ERROR_PREPARE_FAILED, "%s/%s of the run directory: %s", job, uid, strerror(errno));
}

static bool tear_down_job(int run, const struct pins *pins, const char *job, struct failure *why) {
  AUTO_WORDS users = {0};
  bool done = true;
  AUTO_FD directory = job_open(run, job, NULL);
  if (directory >= 0) names_in(directory, true, &users);
  for (size_t i = 0; i < users.count; i++) done = tear_down_user(run, pins, job, users.items[i], why) && done;
  return done;
}

bool prepared_tear_down(const char *run_directory, const char *job, const char *uid, struct failure *why) {
  AUTO_FD run = run_open(run_directory);
  if (run < 0) return errno == ENOENT || prepare_failed(run_directory, why);
  struct pins pins;
  pins_open(run, &pins);
  bool done = uid != NULL ? tear_down_user(run, &pins, job, uid, why) : tear_down_job(run, &pins, job, why);
  AUTO_FD jobs = openat(run, JOBS, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (jobs >= 0) unlinkat(jobs, job, AT_REMOVEDIR); // as soon as no user is left
  pins_sweep_lost(&pins, run);
  pins_close(run, &pins);
  return done;
}

// --- The list ---

static void add_row(struct buffer *out, const char *job, const char *uid, const char *image, uint64_t made, const char *state) {
  static const struct {
    uint64_t seconds;
    char unit;
  } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
  uint64_t now = (uint64_t)time(NULL), age = made == 0 || now < made ? 0 : now - made;
  size_t unit = 0;
  while (unit + 1 < COUNT_OF(units) && age < 2 * units[unit].seconds) unit++;
  buffer_print(out, "%-20s %-10s %-40s ", job, uid, image);
  if (made == 0)
    buffer_print(out, "%6s %s\n", "-", state);
  else
    buffer_print(out, "%5llu%c %s\n", (unsigned long long)(age / units[unit].seconds), units[unit].unit, state);
}

static void list_entry(int run, int directory, const char *job, const char *uid, const char *name, const char *view, struct buffer *out) {
  AUTO_PREPARED entry = {0};
  struct failure why;
  if (!entry_read(directory, name, &entry, &why)) {
    add_row(out, job, uid, "-", 0, why.code == ERROR_RECORD_NEWER ? "of a newer version" : "damaged");
    return;
  }
  AUTO_FD pin = pin_open(run, &entry);
  const char *state = pin >= 0 ? "ready" : strcmp(view, prepared_text(&entry, PREPARED_VIEW)) != 0 ? "of another mount namespace" : "gone";
  add_row(out, job, uid, entry.references.items[0], prepared_number(&entry, PREPARED_MADE), state);
}

static void list_user(int run, const char *job, const char *uid, const char *view, struct buffer *out) {
  AUTO_FD directory = job_open(run, job, uid);
  AUTO_WORDS names = {0};
  if (directory < 0) return;
  names_in(directory, false, &names);
  for (size_t i = 0; i < names.count; i++) list_entry(run, directory, job, uid, names.items[i], view, out);
  if (names.count == 0) add_row(out, job, uid, "-", 0, is_unlocked(directory) ? "left over" : "in preparation");
}

static bool is_wanted(const char *name, const char *only) {
  return only == NULL || strcmp(name, only) == 0;
}

void prepared_list(const char *run_directory, const char *only_job, const char *only_uid, struct buffer *out) {
  AUTO_WORDS jobs = {0};
  AUTO_BUFFER view = {0};
  AUTO_FD run = run_open(run_directory);
  AUTO_FD directory = run < 0 ? -1 : openat(run, JOBS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  buffer_print(out, "%-20s %-10s %-40s %6s %s\n", "JOB", "UID", "IMAGE", "AGE", "STATE");
  if (directory < 0 || !describe_view(&view)) return;
  names_in(directory, true, &jobs);
  for (size_t i = 0; i < jobs.count; i++) {
    AUTO_WORDS users = {0};
    AUTO_FD job = is_wanted(jobs.items[i], only_job) ? job_open(run, jobs.items[i], NULL) : -1;
    if (job >= 0) names_in(job, true, &users);
    for (size_t j = 0; j < users.count; j++)
      if (is_wanted(users.items[j], only_uid)) list_user(run, jobs.items[i], users.items[j], view.at, out);
  }
}
