#include "mechanism/prepared.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "limits.gen.h"
#include "mechanism/loop.h"
#include "mechanism/open.h"

#define STRICT (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

int run_open(const char *path) {
  AUTO_FREE char *unsafe = NULL;
  int fd = -1;
  enum walk walk = walk_protected(path, 0, &fd, &unsafe);
  if (walk == WALK_UNSAFE) errno = EPERM;
  return walk == WALK_OK ? fd : -1;
}

int job_open(int run, const char *job, const char *uid) {
  AUTO_BUFFER path = {0};
  struct stat status;
  buffer_print(&path, JOBS "/%s%s%s", job, uid == NULL ? "" : "/", uid == NULL ? "" : uid);
  AUTO_FD fd = open_resolved(run, path.at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, STRICT | RESOLVE_NO_XDEV);
  if (fd < 0) return -1;
  if (fstat(fd, &status) == 0 && status.st_uid == 0 && is_protected(&status, 0)) return steal_fd(&fd);
  errno = EPERM;
  return -1;
}

bool entry_read(int directory, const char *name, struct prepared *entry, struct failure *why) {
  AUTO_BUFFER content = {0};
  *entry = (struct prepared){0};
  if (open_protected_file(directory, name, 0, LIMIT_ENTRY_BYTES, &content, NULL) != WALK_OK) return fail(why, ERROR_RECORD_INVALID, "%s: %s", name, strerror(errno));
  return prepared_parse(content.at, content.length, entry, why);
}

bool set_field(struct prepared *entry, enum prepared_field field, const char *text) {
  entry->fields[field].length = 0;
  buffer_text(&entry->fields[field], text);
  return true;
}

int pin_open(int run, const struct prepared *entry) {
  AUTO_BUFFER found = {0};
  struct stat status;
  AUTO_FD pin = open_resolved(run, prepared_text(entry, PREPARED_PIN), O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, STRICT);
  if (pin < 0 || fstat(pin, &status) != 0) return -1;
  buffer_print(&found, "%llu:%llu", (unsigned long long)status.st_dev, (unsigned long long)status.st_ino);
  return strcmp(found.at, prepared_text(entry, PREPARED_NAMESPACE)) == 0 ? steal_fd(&pin) : -1;
}

// Where this process looks from. A namespace alone would not do: someone who was put below another root directory has the same.
bool describe_view(struct buffer *out) {
  struct stat space;
  struct statx top;
  if (stat("/proc/self/ns/mnt", &space) != 0 || statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID, &top) != 0) return false;
  if ((top.stx_mask & STATX_MNT_ID) == 0) return false;
  buffer_print(out, "%llu:%llu %llu:%llu", (unsigned long long)space.st_dev, (unsigned long long)space.st_ino, (unsigned long long)top.stx_mnt_id,
               (unsigned long long)top.stx_ino);
  return true;
}

// Numbers of devices and inodes mean what they meant for one boot alone.
bool describe_boot(struct buffer *out) {
  AUTO_FD fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || !read_all(fd, 64, out) || out->length == 0) return false;
  out->at[--out->length] = '\0'; // the line end
  return true;
}

bool describe(const struct root_plan *plan, const char *job, struct prepared *entry) {
  struct buffer *fields = entry->fields;
  set_field(entry, PREPARED_JOB, job);
  buffer_print(&fields[PREPARED_UID], "%u", plan->who.uid);
  buffer_print(&fields[PREPARED_GID], "%u", plan->who.gid);
  prepared_groups(plan->who.gid, &plan->who.groups, &fields[PREPARED_GROUPS]);
  set_field(entry, PREPARED_CONFIGURATION, plan->config.digest);
  set_field(entry, PREPARED_BUILD, PROGRAM_VERSION);
  buffer_text(&fields[PREPARED_MODULES], "");
  for (size_t i = 0; i < plan->modules.count; i++) buffer_print(&fields[PREPARED_MODULES], "%s%s", i == 0 ? "" : ",", plan->modules.items[i]->name);
  buffer_text(&fields[PREPARED_VOLUMES], "");
  volume_map_signature(&plan->volumes, &fields[PREPARED_VOLUMES]);
  return describe_boot(&fields[PREPARED_BOOT]) && describe_view(&fields[PREPARED_VIEW]);
}

// The image as the entry knows it, if it is the one that is meant and the caller may use it.
static bool take_image(const struct prepared *entry, const struct root_plan *plan, struct image *image) {
  struct failure ignored;
  if (!words_hold(&entry->references, plan->reference.canonical)) return false;
  bool is_meta = entry->fields[PREPARED_META].at != NULL;
  const struct buffer *content = &entry->fields[is_meta ? PREPARED_META : PREPARED_RECORD];
  const char *id = prepared_text(entry, PREPARED_IMAGE);
  if (facts_take(is_meta, content, id, &plan->who, &image->facts, &ignored) != FACTS_TAKEN) return false;
  image->id = memory_copy(id, strlen(id));
  return true;
}

bool device_hold(const struct prepared *entry, int *device) {
  const char *file = prepared_text(entry, PREPARED_FILE), *colon = strchr(file, ':');
  uint64_t of = 0, inode = 0;
  return colon != NULL && number_parse(file, (size_t)(colon - file), INT64_MAX, false, &of) &&
         number_parse(colon + 1, strlen(colon + 1), INT64_MAX, false, &inode) &&
         loop_hold((unsigned)prepared_number(entry, PREPARED_LOOP), (dev_t)of, (ino_t)inode, device);
}

// Before: `wanted` describes the plan. After true: root and working directory are those of the pinned namespace.
static bool try_entry(int run, const struct prepared *entry, const struct prepared *wanted, struct root_plan *plan) {
  if (!prepared_same(entry, wanted, PREPARED_UID, PREPARED_UID) || !prepared_same(entry, wanted, PREPARED_CONFIGURATION, PREPARED_BUILD)) return false;
  struct image image = {.file.fd = -1};
  bool taken = take_image(entry, plan, &image), joined = false;
  if (taken && !plan->writable && prepared_same(entry, wanted, PREPARED_JOB, PREPARED_VIEW)) {
    AUTO_FD pin = pin_open(run, entry);
    joined = pin >= 0 && setns(pin, CLONE_NEWNS) == 0;
  }
  if (joined) cleanup_fd(&plan->device);
  if (joined || (taken && plan->device < 0 && device_hold(entry, &plan->device))) {
    image_close(&plan->image);
    plan->image = image;
  } else {
    image_close(&image);
  }
  return joined;
}

static bool try_job(int run, const char *job, struct root_plan *plan) {
  AUTO_BUFFER uid = {0};
  AUTO_WORDS names = {0};
  AUTO_PREPARED wanted = {0};
  buffer_print(&uid, "%u", plan->who.uid);
  AUTO_FD directory = job_open(run, job, uid.at);
  if (directory < 0 || !describe(plan, job, &wanted)) return false;
  names_in(directory, false, &names);
  for (size_t i = 0; i < names.count; i++) {
    AUTO_PREPARED entry = {0};
    struct failure ignored;
    if (entry_read(directory, names.items[i], &entry, &ignored) && try_entry(run, &entry, &wanted, plan)) return true;
  }
  return false;
}

bool prepared_join(struct root_plan *plan, const struct words *jobs) {
  const struct words *places = &plan->config.runtime[RUNTIME_RUN_DIRECTORY].words;
  if (plan->reference.canonical == NULL || plan->reference.type == IMAGE_LOCAL) return false;
  for (size_t i = 0; i < places->count; i++) {
    AUTO_FD run = run_open(places->items[i]);
    for (size_t j = 0; run >= 0 && j < jobs->count; j++)
      if (try_job(run, jobs->items[j], plan)) return true;
  }
  return false;
}
