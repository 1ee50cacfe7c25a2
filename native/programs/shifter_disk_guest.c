// shifter-disk-guest: the first process of the User-Mode Linux kernel that shifter-disk starts. It reads a stranger's disk with the kernel's own file
// systems and writes the merged tree as one tar archive. Nothing of the host is in the guest but three files: the disk, the archive, the scratch.
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "disk/guest.h"
#include "disk/mapper.h"
#include "disk/reader.h"
#include "disk/system.h"
#include "mechanism/open.h"

#define FAULT_TOLD 3

// Its own words alone: a terminal would change them on their way.
static int open_voice(void) {
  struct termios raw;
  int voice = open(GUEST_VOICE, O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (voice < 0 || tcgetattr(voice, &raw) != 0) return -1;
  cfmakeraw(&raw);
  return tcsetattr(voice, TCSANOW, &raw) == 0 ? voice : -1;
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

static bool read_disk(const struct orders *orders, struct failure *why) {
  AUTO_FD disk = open(GUEST_DISK, O_RDONLY | O_CLOEXEC);
  // Past the page cache: what is written is never read again.
  AUTO_FD output = open(GUEST_OUTPUT, O_WRONLY | O_DIRECT | O_CLOEXEC);
  struct volumes volumes = {.disk = {read_file, &disk, 0}, .log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  if (disk < 0 || output < 0 || ioctl(disk, BLKGETSIZE64, &volumes.disk.size) != 0)
    return fail(why, ERROR_READER_FAILED, "the guest has not its devices: %s", strerror(errno));
  return mapper_open(disk, &volumes.devices, why) && reader_mount(&volumes, orders, why) && reader_write(output, orders, why);
}

static int work(void) {
  struct orders orders = {0};
  struct failure why = {0};
  const struct rlimit files = {READER_DESCRIPTORS, READER_DESCRIPTORS};
  if (setrlimit(RLIMIT_NOFILE, &files) == 0 && read_orders(&orders, &why) && read_disk(&orders, &why)) return 0;
  if (why.what[0] == '\0') fail(&why, ERROR_READER_FAILED, "the guest can't begin: %s", strerror(errno));
  reader_tell_fault(&why);
  return FAULT_TOLD;
}

// The worker may be killed by the kernel that reads a damaged file system, or for want of memory; this process is what tells it.
static void tell_end(int status) {
  struct failure why = {0};
  if (WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FAULT_TOLD)) return;
  if (WIFEXITED(status) && WEXITSTATUS(status) == error_exit(ERROR_RESOURCE)) fail(&why, ERROR_LIMIT_EXCEEDED, "the reader's memory was not enough");
  else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) fail(&why, ERROR_LIMIT_EXCEEDED, "the reader was killed, probably for want of memory");
  else fail(&why, ERROR_READER_FAILED, "the reader ended with status %#x", (unsigned)status);
  reader_tell_fault(&why);
}

int main(void) {
  mkdir("/proc", 0755);
  mkdir("/dev", 0755);
  mkdir(READER_ROOT, 0755);
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, NULL);
  int status = 0;
  int voice = open_voice();
  reader_voice(voice);
  pid_t child = voice >= 0 ? fork() : -1;
  if (child == 0) _exit(work());
  if (child > 0) {
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    tell_end(status);
    tcdrain(voice);
  }
  reboot(RB_POWER_OFF);
  return 1;
}
