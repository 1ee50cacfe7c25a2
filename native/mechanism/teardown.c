#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
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

void job_leave(int run, const char *job, const char *uid) {
  AUTO_FD above = uid == NULL ? -1 : job_open(run, job, NULL);
  AUTO_FD jobs = openat(run, JOBS, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (uid != NULL && above >= 0) unlinkat(above, uid, AT_REMOVEDIR);
  if (jobs >= 0) unlinkat(jobs, job, AT_REMOVEDIR);
}

bool prepared_tear_down(const char *run_directory, const char *job, const char *uid, struct failure *why) {
  AUTO_FD run = run_open(run_directory);
  if (run < 0) return errno == ENOENT || prepare_failed(run_directory, why);
  struct pins pins;
  pins_open(run, &pins);
  bool done = uid != NULL ? tear_down_user(run, &pins, job, uid, why) : tear_down_job(run, &pins, job, why);
  job_leave(run, job, NULL);
  pins_sweep_lost(&pins, run);
  pins_close(run, &pins);
  return done;
}

// --- The list ---

#define CELLS 5 // of a row

struct list {
  int run;
  struct prepared here; // the boot and the view of whoever asks
  struct words cells;
};

static void add_age(uint64_t made, struct buffer *out) {
  static const struct {
    uint64_t seconds;
    char unit;
  } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
  uint64_t now = (uint64_t)time(NULL), age = now < made ? 0 : now - made;
  size_t unit = 0;
  while (unit + 1 < COUNT_OF(units) && age < 2 * units[unit].seconds) unit++;
  buffer_print(out, "%llu%c", (unsigned long long)(age / units[unit].seconds), units[unit].unit);
}

static void add_row(struct list *list, const char *job, const char *uid, const char *image, uint64_t made, const char *state) {
  AUTO_BUFFER age = {0};
  if (made > 0) add_age(made, &age);
  const char *const cells[CELLS] = {job, uid, image, made > 0 ? age.at : "-", state};
  for (size_t i = 0; i < CELLS; i++) words_add_text(&list->cells, cells[i]);
}

static const char *state_of(const struct list *list, const struct prepared *entry) {
  if (!prepared_same(entry, &list->here, PREPARED_BOOT, PREPARED_BOOT)) return "gone";
  AUTO_FD pin = pin_open(list->run, entry);
  if (pin >= 0) return "ready";
  return prepared_same(entry, &list->here, PREPARED_VIEW, PREPARED_VIEW) ? "gone" : "of another mount namespace";
}

static void list_entry(struct list *list, int directory, const char *job, const char *uid, const char *name) {
  AUTO_PREPARED entry = {0};
  struct failure why;
  if (entry_read(directory, name, &entry, &why))
    add_row(list, job, uid, entry.references.items[0], prepared_number(&entry, PREPARED_MADE), state_of(list, &entry));
  else
    add_row(list, job, uid, "-", 0, why.code == ERROR_RECORD_NEWER ? "of a newer version" : "damaged");
}

static void list_user(struct list *list, const char *job, const char *uid) {
  AUTO_FD directory = job_open(list->run, job, uid);
  AUTO_WORDS names = {0};
  if (directory < 0) return;
  names_in(directory, false, &names);
  for (size_t i = 0; i < names.count; i++) list_entry(list, directory, job, uid, names.items[i]);
  if (names.count == 0) add_row(list, job, uid, "-", 0, is_unlocked(directory) ? "left over" : "in preparation");
}

static bool is_wanted(const char *name, const char *only) {
  return only == NULL || strcmp(name, only) == 0;
}

// By job, user and image; numbers in a name count as numbers.
static int compare_rows(const void *one, const void *other) {
  char *const *mine = one, *const *theirs = other;
  int order = 0;
  for (size_t i = 0; i < CELLS && order == 0; i++) order = strverscmp(mine[i], theirs[i]);
  return order;
}

// Columns that it takes: bytes but those that continue a character.
static size_t width_of(const char *text) {
  size_t width = 0;
  for (; *text != '\0'; text++) width += ((unsigned char)*text & 0xC0) != 0x80;
  return width;
}

static void write_rows(const struct words *cells, struct buffer *out) {
  size_t widths[CELLS] = {0};
  for (size_t i = 0; i < cells->count; i++)
    if (width_of(cells->items[i]) > widths[i % CELLS]) widths[i % CELLS] = width_of(cells->items[i]);
  for (size_t i = 0; i < cells->count; i++) {
    const char *text = cells->items[i];
    int left = (int)(widths[i % CELLS] - width_of(text));
    bool number = i % CELLS == 3, last = i % CELLS == CELLS - 1;
    buffer_print(out, "%*s%s%*s%c", number ? left : 0, "", text, number || last ? 0 : left, "", last ? '\n' : ' ');
  }
}

void prepared_list(const char *run_directory, const char *only_job, const char *only_uid, struct buffer *out) {
  AUTO_WORDS jobs = {0};
  AUTO_FD run = run_open(run_directory);
  AUTO_FD directory = run < 0 ? -1 : openat(run, JOBS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct list list = {.run = run};
  words_add_split(&list.cells, "JOB UID IMAGE AGE STATE", " ");
  bool known = describe_boot(&list.here.fields[PREPARED_BOOT]) && describe_view(&list.here.fields[PREPARED_VIEW]);
  if (known && directory >= 0) names_in(directory, true, &jobs);
  for (size_t i = 0; i < jobs.count; i++) {
    AUTO_WORDS users = {0};
    AUTO_FD job = is_wanted(jobs.items[i], only_job) ? job_open(run, jobs.items[i], NULL) : -1;
    if (job >= 0) names_in(job, true, &users);
    for (size_t j = 0; j < users.count; j++)
      if (is_wanted(users.items[j], only_uid)) list_user(&list, jobs.items[i], users.items[j]);
  }
  qsort(list.cells.items + CELLS, list.cells.count / CELLS - 1, CELLS * sizeof *list.cells.items, compare_rows);
  write_rows(&list.cells, out);
  words_free(&list.cells);
  prepared_free(&list.here);
}
