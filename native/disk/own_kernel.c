#include "disk/own_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "disk/confine.h"
#include "disk/loops.h"
#include "mechanism/open.h"

#define DISK 64 // its descriptors: the disk's file, and the archive's
#define OUTPUT (DISK + 1)
#define RIGHT(number) (UINT64_C(1) << (number))
// To mount and set up loop devices; to open those, which are root's; to read files of every owner; to give all of that up.
#define RIGHTS_TO_MOUNT (RIGHT(CAP_SYS_ADMIN) | RIGHT(CAP_DAC_OVERRIDE) | RIGHT(CAP_DAC_READ_SEARCH) | RIGHT(CAP_SETPCAP))
#define RIGHTS_TO_READ RIGHT(CAP_DAC_READ_SEARCH)

static bool no(const char *step, struct failure *why) {
  return fail(why, ERROR_READER_FAILED, "no place for the reader (%s: %s)", step, strerror(errno));
}

// The account's process from here on, which keeps these rights of root's and no other.
static bool become_account(const struct own_kernel *own, struct failure *why) {
  const struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  const uint32_t rights = (uint32_t)RIGHTS_TO_MOUNT;
  const struct __user_cap_data_struct kept[2] = {{.effective = rights, .permitted = rights}, {0}};
  return (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0 && setresgid(own->gid, own->gid, own->gid) == 0 && setresuid(own->uid, own->uid, own->uid) == 0 &&
           prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0 && syscall(SYS_capset, &header, kept) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) ||
         no("account", why);
}

// Held before the empty root covers them.
static bool open_machine(struct loops *loops, struct volumes *volumes, struct failure *why) {
  volumes->log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  loops->nodes = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
  loops->scratch = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (loops->nodes < 0 || loops->scratch < 0) return no("directories", why);
  loops->control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  return loops->control >= 0 || fail(why, ERROR_READER_FAILED, "this machine has no loop devices: /dev/loop-control can't be opened: %s", strerror(errno));
}

// What is mounted here is seen by nobody else. Of the machine's files none is left but those that are open.
static bool make_root(struct failure *why) {
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return no("private", why);
  // The new root covers /tmp in this namespace alone.
  if (mount("reader", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=64k,nr_inodes=16") != 0 || chdir("/tmp") != 0) return no("tmpfs", why);
  if (mkdir("proc", 0755) != 0 || mkdir(&READER_ROOT[1], 0755) != 0) return no("root", why);
  // It is the first of its processes, so it sees no other one.
  if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) return no("proc", why);
  if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) return no("pivot_root", why);
  return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0 || no("read-only root", why);
}

// All but the first three and those from `kept` to the archive's.
static bool close_others(unsigned kept) {
  return syscall(SYS_close_range, OUTPUT + 1U, ~0U, 0U) == 0 && syscall(SYS_close_range, STDERR_FILENO + 1U, kept - 1U, 0U) == 0;
}

// Nothing of the launcher's is left open in it, so that it sees when nobody listens any more.
static bool place_descriptors(const struct own_kernel *own, struct failure *why) {
  AUTO_FD nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  bool placed = nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(own->voice, STDOUT_FILENO) >= 0 && dup2(own->log, STDERR_FILENO) >= 0 &&
                dup2(own->disk, DISK) >= 0 && dup2(own->output, OUTPUT) >= 0;
  nothing = -1; // closed with the others
  return (placed && close_others(DISK)) || no("descriptors", why);
}

// From the first byte of the tree on nothing is mounted any more, and nothing of the machine's is open: who may read every file would read those that
// lie beside the scratch directory, or a disk among the devices.
static bool give_up(struct failure *why) {
  return (close_others(OUTPUT) || no("descriptors", why)) && confine_rights(RIGHTS_TO_READ, why);
}

// Taking an account on undoes what was asked for before; who died meanwhile is told of by nobody.
static bool die_with_launcher(struct failure *why) {
  struct pollfd listener = {STDOUT_FILENO, 0, 0};
  return (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && poll(&listener, 1, 0) == 0) || no("launcher", why);
}

static bool read_disk(const struct own_kernel *own, struct failure *why) {
  int disk = DISK;
  struct loops loops = {.disk = DISK, .disk_size = own->disk_size};
  struct volumes volumes = {.disk = {read_file, &disk, own->disk_size}};
  // A copy of a volume is no larger than its disk.
  const uint64_t most = own->orders->bytes > own->disk_size ? own->orders->bytes : own->disk_size;
  const struct confinement confinement = {.memory = own->memory, .file_most = most + 4096, .seconds = own->seconds, .descriptors = READER_DESCRIPTORS};
  // The log is for root alone where the site says so.
  if (!open_machine(&loops, &volumes, why) || !make_root(why) || !become_account(own, why) || !die_with_launcher(why)) return false;
  loops_open(&loops, &volumes.devices);
  // The tables of the disk may ask for as much memory as the file systems' names do.
  return confine_use(&confinement, why) && reader_mount(&volumes, own->orders, why) && give_up(why) && reader_write(OUTPUT, own->orders, why);
}

static _Noreturn void be_reader(const struct own_kernel *own) {
  struct failure why = {0};
  if (!place_descriptors(own, &why)) _exit(1);
  reader_voice(STDOUT_FILENO);
  bool read = read_disk(own, &why);
  if (!read) reader_tell_fault(&why);
  _exit(read ? 0 : 1);
}

bool launch_own(const struct own_kernel *own, pid_t *pid, struct failure *why) {
  const unsigned long spaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  // Root's rights were put aside, not given up.
  if (setresuid((uid_t)-1, 0, 0) != 0) return fail(why, ERROR_READER_FAILED, "root's rights can't be taken again: %s", strerror(errno));
  *pid = (pid_t)syscall(SYS_clone, spaces | SIGCHLD, NULL, NULL, NULL, NULL);
  if (*pid == 0) be_reader(own);
  bool started = *pid > 0 || fail(why, ERROR_READER_FAILED, "no namespaces for the reader: %s", strerror(errno));
  // The launcher judges what it is told, for which it needs no right.
  bool dropped = setresgid(own->gid, own->gid, own->gid) == 0 && setresuid(own->uid, own->uid, own->uid) == 0;
  return started && (dropped || fail(why, ERROR_READER_FAILED, "the account can't be taken on for good: %s", strerror(errno)));
}
