// shifter-disk-guest: the first process of the User-Mode Linux kernel that shifter-disk starts. It reads a stranger's disk with the kernel's own file
// systems and writes the merged tree as one tar archive. Nothing of the host is in the guest but three files: the disk, the archive, the scratch.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "disk/candidates.h"
#include "disk/guest.h"
#include "disk/merging.h"
#include "disk/mounting.h"
#include "disk/strip.h"
#include "disk/system.h"
#include "disk/tell.h"
#include "disk/tree.h"
#include "disk/walk.h"
#include "mechanism/open.h"

#define FAULT_TOLD 3

static int voice = -1;

void guest_tell(struct buffer *line) {
  buffer_byte(line, '\n');
  // A launcher that listens no more ends the guest.
  bool ignored = write_all(voice, line->at, line->length);
  (void)ignored;
}

static void tell_fault(const struct failure *why) {
  AUTO_BUFFER line = {0};
  buffer_text(&line, "fault");
  tell_word(&line, error_name(why->code));
  tell_rest(&line, why->what);
  guest_tell(&line);
}

static void tell_fact(const char *key, const char *value) {
  AUTO_BUFFER line = {0};
  if (value[0] == '\0') return;
  buffer_text(&line, "fact");
  tell_word(&line, key);
  tell_rest(&line, value);
  guest_tell(&line);
}

// Its own words alone: a terminal would change them on their way.
static bool open_voice(void) {
  struct termios raw;
  voice = open(GUEST_VOICE, O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (voice < 0 || tcgetattr(voice, &raw) != 0) return false;
  cfmakeraw(&raw);
  return tcsetattr(voice, TCSANOW, &raw) == 0;
}

static bool read_orders(struct orders *orders, struct failure *why) {
  AUTO_BUFFER text = {0}, number = {0}, partition = {0};
  AUTO_FD fd = open(GUEST_ORDERS, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || !read_all(fd, 65536, &text)) return fail(why, ERROR_READER_FAILED, "the guest has no orders");
  if (!assignment_read(text.at, text.length, "entries", &number) || !number_parse(number.at, number.length, LARGEST_SIZE, false, &orders->entries) ||
      !assignment_read(text.at, text.length, "bytes", &number) || !number_parse(number.at, number.length, LARGEST_SIZE, false, &orders->bytes))
    return fail(why, ERROR_READER_FAILED, "the guest's orders are none");
  if (assignment_read(text.at, text.length, "partition", &partition)) orders->partition = steal(&partition.at);
  return true;
}

static bool tell_system(struct failure *why) {
  static const struct {
    const char *key, *name;
  } facts[] = {{"ID", "os"}, {"VERSION_ID", "version"}, {"PRETTY_NAME", "title"}};
  for (size_t i = 0; i < COUNT_OF(facts); i++) {
    AUTO_BUFFER value = {0};
    tree_system(GUEST_ROOT, facts[i].key, &value);
    tell_fact(facts[i].name, value.at);
  }
  AUTO_BUFFER text = {0}, path = {0};
  if (tree_read(GUEST_ROOT, "etc/environment", 65536, true, &text) && assignment_read(text.at, text.length, "PATH", &path)) tell_fact("path", path.at);
  const char *architecture = tree_architecture(GUEST_ROOT);
  if (architecture == NULL) return fail(why, ERROR_DISK_NO_SYSTEM, "the system has no /bin/sh, nor another program that tells its architecture");
  tell_fact("architecture", architecture);
  return architecture_is_own(architecture) || fail(why, ERROR_PLATFORM_NOT_FOUND, "the system's programs are for %s, not for this machine", architecture);
}

static bool mount_root(struct volumes *volumes, const struct candidate *root, struct failure *why) {
  bool replayed;
  AUTO_BUFFER line = {0}, name = {0};
  if (!volume_mount(volumes, root->volume, root->subvolume, GUEST_ROOT, &replayed, why)) return false;
  candidate_name(root, &name);
  buffer_text(&line, "root");
  tell_word(&line, name.at);
  tell_word(&line, root->volume->signature.type);
  guest_tell(&line);
  tell_replayed(root->volume);
  return merge_fstab(volumes, root, why);
}

static void tell_stripped(const uint64_t *counts) {
  for (size_t i = 0; i <= strip_rule_count; i++) {
    AUTO_BUFFER line = {0};
    if (counts[i] == 0) continue;
    buffer_text(&line, "stripped");
    tell_word(&line, i < strip_rule_count ? strip_rules[i].pattern : "special-files");
    buffer_print(&line, " %llu", (unsigned long long)counts[i]);
    guest_tell(&line);
  }
}

static bool read_disk(const struct orders *orders, struct failure *why) {
  struct volumes volumes = {0};
  struct candidate root;
  if (!mapper_prepare(why) || !volumes_find(GUEST_DISK, &volumes, why) || !candidate_choose(&volumes, orders->partition, &root, why)) return false;
  if (!mount_root(&volumes, &root, why) || !tell_system(why)) return false;
  AUTO_FREE uint64_t *stripped = memory_get(strip_rule_count + 1, sizeof *stripped);
  struct walk_summary summary = {.stripped = stripped};
  if (!walk_tree(GUEST_ROOT, orders->entries, orders->bytes, &summary, why)) return false;
  tell_stripped(stripped);
  AUTO_BUFFER line = {0};
  buffer_print(&line, "done %llu %llu", (unsigned long long)summary.bytes, (unsigned long long)summary.entries);
  guest_tell(&line);
  return true;
}

static int work(void) {
  struct orders orders = {0};
  struct failure why = {0};
  const struct rlimit files = {4096, 4096};
  if (setrlimit(RLIMIT_NOFILE, &files) == 0 && read_orders(&orders, &why) && read_disk(&orders, &why)) return 0;
  if (why.what[0] == '\0') fail(&why, ERROR_READER_FAILED, "the guest can't begin: %s", strerror(errno));
  tell_fault(&why);
  return FAULT_TOLD;
}

// The worker may be killed by the kernel that reads a damaged file system, or for want of memory; this process is what tells it.
static void tell_end(int status) {
  struct failure why = {0};
  if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FAULT_TOLD)) return;
  if (WIFEXITED(status) && WEXITSTATUS(status) == error_exit(ERROR_RESOURCE)) fail(&why, ERROR_LIMIT_EXCEEDED, "the reader's memory was not enough");
  else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) fail(&why, ERROR_LIMIT_EXCEEDED, "the reader was killed, probably for want of memory");
  else fail(&why, ERROR_READER_FAILED, "the reader ended with status %#x", (unsigned)status);
  tell_fault(&why);
}

int main(void) {
  mkdir("/proc", 0755);
  mkdir("/dev", 0755);
  mkdir(GUEST_ROOT, 0755);
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, NULL);
  int status = 0;
  pid_t child = open_voice() ? fork() : -1;
  if (child == 0) _exit(work());
  if (child > 0) {
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    tell_end(status);
    tcdrain(voice);
  }
  reboot(RB_POWER_OFF);
  return 1;
}
