#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "limits.gen.h"
#include "mechanism/loop.h"
#include "mechanism/open.h"
#include "mechanism/pins.h"
#include "mechanism/prepared.h"
#include "mechanism/process.h"
#include "mechanism/root.h"

#define LOCK_MILLISECONDS 30000
#define BUILD_SECONDS 600 // hooks of the site and the making of a file system may take their time
#define ATTEMPTS 100      // someone else does the opposite at the same moment
#define UNFINISHED ".new"

static void say(const struct preparation *asked, const char *what, const char *of) {
  AUTO_BUFFER line = {0};
  if (!asked->verbose) return;
  buffer_text(&line, "setupRoot: ");
  buffer_text(&line, what);
  buffer_visible(&line, of);
  buffer_byte(&line, '\n');
  write_message(&line);
}

bool prepare_failed(const char *step, struct failure *why) {
  return fail(why, ERROR_PREPARE_FAILED, "%s: %s", step, strerror(errno));
}

// --- Directories and locks ---

bool lock_take(int directory, int milliseconds) {
  static const struct timespec pause = {.tv_nsec = 5000000};
  for (int left = milliseconds / 5; left > 0; left--) {
    if (flock(directory, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK && errno != EINTR) return false;
    nanosleep(&pause, NULL);
  }
  return false;
}

// The last part of the path is made where it is missing: what is below /run is gone with every boot.
static int run_make(const char *path, struct failure *why) {
  AUTO_FD run = run_open(path);
  if (run < 0 && errno == ENOENT) {
    AUTO_FREE char *above = memory_copy(path, strlen(path)), *last = memory_copy(path, strlen(path));
    AUTO_FD parent = run_open(dirname(above));
    if (parent >= 0 && mkdirat(parent, basename(last), 0711) != 0 && errno != EEXIST) return prepare_failed(path, why), -1;
    run = parent < 0 ? -1 : run_open(path);
  }
  if (run < 0 && errno == EPERM) return fail(why, ERROR_PREPARE_FAILED, "%s, or a directory above, could be changed by someone other than root", path), -1;
  bool made = run >= 0 && (mkdirat(run, JOBS, 0700) == 0 || errno == EEXIST);
  if (!made) return prepare_failed(path, why), -1;
  return steal_fd(&run);
}

static bool make_directories(int run, const char *job, const char *uid) {
  AUTO_BUFFER path = {0};
  buffer_print(&path, JOBS "/%s", job);
  if (mkdirat(run, path.at, 0700) != 0 && errno != EEXIST) return false;
  buffer_print(&path, "/%s", uid);
  return mkdirat(run, path.at, 0700) == 0 || errno == EEXIST || errno == ENOENT;
}

static bool is_still(int directory, int run, const char *job, const char *uid) {
  struct stat had, now;
  AUTO_FD again = job_open(run, job, uid);
  return again >= 0 && fstat(directory, &had) == 0 && fstat(again, &now) == 0 && had.st_dev == now.st_dev && had.st_ino == now.st_ino;
}

// The directory of the job and user, made if need be, with the lock on it. Who takes the job down meanwhile removes the directory: what
// was locked is then of no use, and nothing can be put into it.
static int job_lock(int run, const char *job, const char *uid, struct failure *why) {
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (!make_directories(run, job, uid)) return prepare_failed("the directory of the job", why), -1;
    AUTO_FD directory = job_open(run, job, uid);
    if (directory < 0 && errno == ENOENT) continue;
    if (directory < 0) return prepare_failed("the directory of the job", why), -1;
    if (!lock_take(directory, LOCK_MILLISECONDS)) return fail(why, ERROR_PREPARE_FAILED, "another setupRoot works for job %s and uid %s, and does not end", job, uid), -1;
    if (is_still(directory, run, job, uid)) return steal_fd(&directory);
  }
  return fail(why, ERROR_PREPARE_FAILED, "job %s is taken down again and again", job), -1;
}

// --- What is there already ---

struct survey {
  size_t count;          // of roots
  bool found;            // the one that is wanted is among them
  struct prepared entry; // then: its entry
};

// Before: the lock is held. After: entries whose root is gone, what killed preparers left, and pins without an entry are gone too.
static void survey(int run, int directory, const struct pins *pins, const struct prepared *wanted, const char *key, struct root_plan *plan, struct survey *out) {
  AUTO_WORDS names = {0}, kept = {0};
  names_in(directory, true, &names);
  for (size_t i = 0; i < names.count; i++) {
    const char *name = names.items[i];
    AUTO_PREPARED entry = {0};
    struct failure ignored;
    AUTO_FD pin = -1;
    bool readable = strcmp(name, UNFINISHED) != 0 && entry_read(directory, name, &entry, &ignored) &&
                    prepared_same(&entry, wanted, PREPARED_BOOT, PREPARED_BOOT); // of another boot is as good as damaged
    // One of another mount namespace: its pin can't be seen from here.
    bool elsewhere = readable && !prepared_same(&entry, wanted, PREPARED_VIEW, PREPARED_VIEW);
    if (readable && !elsewhere) pin = pin_open(run, &entry);
    if (!elsewhere && pin < 0) {
      unlinkat(directory, name, 0);
      continue;
    }
    out->count++;
    words_add_text(&kept, prepared_text(&entry, PREPARED_PIN));
    bool same_file = plan->device < 0 && prepared_same(&entry, wanted, PREPARED_FILE, PREPARED_FILE);
    if (same_file && !device_hold(&entry, &plan->device)) plan->device = -1;
    if (strcmp(name, key) != 0) continue;
    out->found = true;
    prepared_free(&out->entry);
    out->entry = entry;
    entry = (struct prepared){0};
  }
  pins_sweep(pins, prepared_text(wanted, PREPARED_JOB), prepared_text(wanted, PREPARED_UID), &kept);
}

static bool publish(int directory, const char *key, const struct prepared *entry, struct failure *why) {
  AUTO_BUFFER text = {0};
  prepared_write(entry, &text);
  AUTO_FD file = openat(directory, UNFINISHED, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0 && errno == ENOENT) return fail(why, ERROR_PREPARE_FAILED, "the job was taken down meanwhile");
  bool written = file >= 0 && write_all(file, text.at, text.length) && renameat(directory, UNFINISHED, directory, key) == 0;
  return written || prepare_failed("writing the entry", why);
}

// A root that is there: asked for by another name, it is that name's too.
static bool use_existing(int directory, const char *key, struct prepared *entry, const struct prepared *wanted, struct failure *why) {
  if (!prepared_same(entry, wanted, PREPARED_NODES, PREPARED_NODES))
    return fail(why, ERROR_PREPARE_FAILED, "this root was prepared with other --nodes; unsetupRoot takes it down");
  size_t known = entry->references.count;
  for (size_t i = 0; i < wanted->references.count; i++)
    if (!words_hold(&entry->references, wanted->references.items[i])) words_add_text(&entry->references, wanted->references.items[i]);
  return entry->references.count == known || publish(directory, key, entry, why);
}

// --- Building ---

struct answer {
  bool built;
  struct failure why;
};

// The child: what it builds lives in a mount namespace of its own, and is gone with it unless its parent pins it. It ends when the
// parent says so, or is no more.
static _Noreturn void build(const struct root_plan *plan, const cpu_set_t *processors, int order, int *reply) {
  struct answer answer = {.why = {.code = ERROR_INTERNAL}};
  char end;
  if (processors != NULL) sched_setaffinity(0, sizeof *processors, processors);
  answer.built = root_enter(plan, &answer.why);
  if (!write_all(*reply, &answer, sizeof answer)) _exit(1);
  cleanup_fd(reply);
  while (read(order, &end, 1) < 0 && errno == EINTR) continue;
  _exit(0);
}

static bool take_answer(int reply, pid_t builder, struct failure *why) {
  struct answer answer;
  AUTO_BUFFER bytes = {0};
  bool whole = pipe_read(reply, builder, BUILD_SECONDS, sizeof answer, &bytes) && bytes.length == sizeof answer;
  if (!whole) return fail(why, ERROR_PREPARE_FAILED, "the process that builds the root has ended, was stopped, or does not end");
  memcpy(&answer, bytes.at, sizeof answer);
  if (!answer.built) *why = answer.why;
  return answer.built;
}

// Before: plan->device shows the image. After: the root is pinned under `name`, or nothing of it is left.
static bool build_once(const struct root_plan *plan, const cpu_set_t *processors, int locked, int place, const char *name, struct buffer *space,
                       bool *order_matters, struct failure *why) {
  int orders[2], replies[2];
  if (pipe2(orders, O_CLOEXEC) != 0) return prepare_failed("pipe", why);
  AUTO_FD order = orders[0], end = orders[1];
  if (pipe2(replies, O_CLOEXEC) != 0) return prepare_failed("pipe", why);
  AUTO_FD reply = replies[0], answer = replies[1];
  pid_t child = fork();
  if (child < 0) return prepare_failed("fork", why);
  if (child == 0) {
    cleanup_fd(&end);
    cleanup_fd(&reply);
    close(locked); // the lock ends with the parent, however that ends
    build(plan, processors, order, &answer);
  }
  cleanup_fd(&order);
  cleanup_fd(&answer);
  bool pinned = take_answer(reply, child, why) && pin_make(place, name, child, space, order_matters, why);
  if (!pinned) kill(child, SIGKILL);
  cleanup_fd(&end);
  while (waitpid(child, NULL, 0) < 0 && errno == EINTR) continue;
  return pinned;
}

// A namespace can be pinned only from an older one. Since Linux 6.18 age is told by numbers that every processor hands out from a stock of
// its own, so that in a namespace other than the first one it depends on the processor. The one that made ours will do.
static bool build_and_pin(const struct root_plan *plan, int locked, int place, const char *name, struct buffer *space, struct failure *why) {
  cpu_set_t all;
  bool order_matters = false;
  bool built = build_once(plan, NULL, locked, place, name, space, &order_matters, why);
  if (built || !order_matters || sched_getaffinity(0, sizeof all, &all) != 0) return built;
  for (size_t i = 0; !built && order_matters && i < CPU_SETSIZE; i++) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(i, &one);
    if (CPU_ISSET(i, &all)) built = build_once(plan, &one, locked, place, name, space, &order_matters, why);
  }
  return built;
}

static bool build_root(const struct preparation *asked, int run, int directory, struct pins *pins, const char *key, struct prepared *entry, struct failure *why) {
  struct root_plan *plan = asked->plan;
  char path[LOOP_PATH];
  unsigned number;
  uint64_t random;
  if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) return prepare_failed("getrandom", why);
  if (plan->device < 0 && !loop_attach(plan->image.file.fd, LOOP_READ_ONLY, &plan->device, path, why)) return false;
  if (!loop_name(plan->device, &number, path)) return prepare_failed("the loop device", why);
  buffer_print(&entry->fields[PREPARED_LOOP], "%u", number);
  buffer_print(&entry->fields[PREPARED_MADE], "%lld", (long long)time(NULL));
  int place = pins_place(run, pins, why);
  if (place < 0) return false;
  AUTO_BUFFER name = {0};
  pin_name(prepared_text(entry, PREPARED_UID), random, asked->job, &name);
  pin_place((unsigned)place, &entry->fields[PREPARED_PIN]);
  buffer_print(&entry->fields[PREPARED_PIN], "/%s", name.at);
  if (!build_and_pin(plan, directory, pins->fds[place], name.at, &entry->fields[PREPARED_NAMESPACE], why)) return false;
  if (publish(directory, key, entry, why)) return true;
  pin_drop(pins->fds[place], name.at);
  return false;
}

// --- The whole ---

// The full hash, where the site sets it; it takes as long as reading the whole image does.
static bool verify(const struct root_plan *plan, struct failure *why) {
  AUTO_RECORD record = {0};
  struct sha256 hash;
  char hex[SHA256_HEX], chunk[65536];
  ssize_t size;
  off_t at = 0;
  if (strcmp(plan->config.runtime[RUNTIME_VERIFY_IMAGE].text, "prepare") != 0) return true;
  if (plan->image.is_meta || !record_parse(plan->image.source.at, plan->image.source.length, &record, why))
    return fail(why, ERROR_RECORD_INVALID, "verifyImage=prepare: '%s' has no record that tells its hash", plan->request);
  sha256_begin(&hash);
  while ((size = pread(plan->image.file.fd, chunk, sizeof chunk, at)) > 0) {
    sha256_add(&hash, chunk, (size_t)size);
    at += size;
  }
  sha256_end(&hash, hex);
  if (size < 0) return fail(why, ERROR_IMAGE_CORRUPT, "the file of '%s': %s", plan->request, strerror(errno));
  return strcmp(hex, record.image_sha256) == 0 || fail(why, ERROR_IMAGE_CORRUPT, "verifyImage=prepare: the file of '%s' is not what its record says", plan->request);
}

static bool describe_image(const struct preparation *asked, struct prepared *entry, struct failure *why) {
  const struct root_plan *plan = asked->plan;
  const struct stat *file = &plan->image.file.status;
  char hex[SHA256_HEX];
  AUTO_BUFFER by_id = {0};
  if (!describe(plan, asked->job, entry)) return prepare_failed("/proc does not tell the boot and the mount namespace", why);
  buffer_print(&by_id, "id:%s", plan->image.id);
  words_add_text(&entry->references, plan->reference.canonical);
  if (!words_hold(&entry->references, by_id.at)) words_add_text(&entry->references, by_id.at);
  set_field(entry, PREPARED_IMAGE, plan->image.id);
  buffer_add(&entry->fields[plan->image.is_meta ? PREPARED_META : PREPARED_RECORD], plan->image.source.at, plan->image.source.length);
  buffer_print(&entry->fields[PREPARED_FILE], "%llu:%llu", (unsigned long long)file->st_dev, (unsigned long long)file->st_ino);
  if (asked->hostsfile->at == NULL) return true;
  sha256_hex(asked->hostsfile->at, asked->hostsfile->length, hex);
  return set_field(entry, PREPARED_NODES, hex);
}

// Before: the lock is held. After: the root is there.
static bool set_up_locked(const struct preparation *asked, int run, int directory, struct prepared *entry, const char *key, struct failure *why) {
  struct survey found = {0};
  struct pins pins;
  pins_open(run, &pins);
  survey(run, directory, &pins, entry, key, asked->plan, &found);
  bool done;
  if (found.found)
    done = use_existing(directory, key, &found.entry, entry, why);
  else if (found.count >= LIMIT_PREPARED_ROOTS)
    done = fail(why, ERROR_PREPARE_FAILED, "job %s has %zu roots of uid %u, the most there may be", asked->job, found.count, asked->plan->who.uid);
  else
    done = build_root(asked, run, directory, &pins, key, entry, why);
  if (done) say(asked, found.found ? "was prepared already: " : "prepared: ", asked->plan->request);
  prepared_free(&found.entry);
  pins_sweep_lost(&pins, run);
  pins_close(run, &pins);
  return done;
}

bool prepared_set_up(const struct preparation *asked, struct failure *why) {
  char key[SHA256_HEX];
  AUTO_PREPARED entry = {0};
  if (!plan_complete(asked->plan, why)) return false;
  if (asked->hostsfile->at != NULL) buffer_add(&made_files_add(&asked->plan->var, "hostsfile")->content, asked->hostsfile->at, asked->hostsfile->length);
  if (asked->plan->image.local) {
    say(asked, "nothing to prepare, a directory is shown as it is: ", asked->plan->request);
    return true;
  }
  if (!describe_image(asked, &entry, why) || !verify(asked->plan, why)) return false;
  prepared_key(&entry, key);
  AUTO_FD run = run_make(asked->run_directory, why);
  AUTO_FD directory = run < 0 ? -1 : job_lock(run, asked->job, prepared_text(&entry, PREPARED_UID), why);
  if (directory < 0) return false;
  if (set_up_locked(asked, run, directory, &entry, key, why)) return true;
  job_leave(run, asked->job, prepared_text(&entry, PREPARED_UID));
  return false;
}
