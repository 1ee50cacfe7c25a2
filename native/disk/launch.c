#include "disk/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk/confine.h"
#include "mechanism/open.h"

#define READY 3           // the descriptor to say it by
#define MEMORY_BESIDES 48 // MiB of the root for what is not the guest's memory

static bool no(const char *step, struct failure *why) {
  return fail(why, ERROR_READER_FAILED, "no sandbox for the reader (%s: %s)", step, strerror(errno));
}

static bool put(const char *path, const char *text) {
  AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write_all(fd, text, strlen(text));
}

// The account keeps its number, so that the files it may read stay those; there is no other in the namespace.
static bool map_account(uid_t uid, gid_t gid, struct failure *why) {
  char users[48], groups[48];
  snprintf(users, sizeof users, "%u %u 1", uid, uid);
  snprintf(groups, sizeof groups, "%u %u 1", gid, gid);
  return (put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", users) && put("/proc/self/gid_map", groups)) || no("map", why);
}

// --- the root ------------------------------------------------------------------------------------------------------------------

struct library {
  char interpreter[256], libc[256];
};

// The kernel is linked with the C library alone, which is this program's own.
static int note_library(struct dl_phdr_info *info, size_t size, void *into) {
  (void)size;
  struct library *library = into;
  const char *slash = strrchr(info->dlpi_name, '/');
  if (slash == NULL) return 0;
  if (strncmp(slash, "/ld-linux", 9) == 0 || strncmp(slash, "/ld64", 5) == 0) snprintf(library->interpreter, sizeof library->interpreter, "%s", info->dlpi_name);
  if (strcmp(slash, "/libc.so.6") == 0) snprintf(library->libc, sizeof library->libc, "%s", info->dlpi_name);
  return 0;
}

struct shown { // a file of the host at a place of the empty root
  const char *file, *place;
  bool read_only, device;
  int tree;
};

static bool take(struct shown *shown, struct failure *why) {
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID | (shown->device ? 0 : MOUNT_ATTR_NODEV) | (shown->read_only ? MOUNT_ATTR_RDONLY : 0)};
  shown->tree = (int)syscall(SYS_open_tree, AT_FDCWD, shown->file, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  return (shown->tree >= 0 && syscall(SYS_mount_setattr, shown->tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) == 0) ||
         fail(why, ERROR_READER_FAILED, "%s can't be shown to the reader: %s", shown->file, strerror(errno));
}

static bool make_above(const char *path) {
  for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    AUTO_BUFFER above = {0};
    buffer_add(&above, path, (size_t)(slash - path));
    if (mkdir(above.at, 0755) != 0 && errno != EEXIST) return false;
  }
  return true;
}

static bool show(const struct shown *shown, struct failure *why) {
  AUTO_FD place = make_above(shown->place) ? open(shown->place, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
  return (place >= 0 && syscall(SYS_move_mount, shown->tree, "", AT_FDCWD, shown->place, MOVE_MOUNT_F_EMPTY_PATH) == 0) || no(shown->place, why);
}

static bool write_archive(const struct buffer *archive, struct failure *why) {
  AUTO_FD fd = open("/archive", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
  return (fd >= 0 && write_all(fd, archive->at, archive->length)) || no("archive", why);
}

static bool make_root(const struct launch *launch, struct failure *why) {
  struct library library = {"", ""};
  char size[64];
  dl_iterate_phdr(note_library, &library);
  // The kernel's unused consoles are /dev/null.
  struct shown files[] = {{launch->disk, "/disk", true, false, -1}, {launch->output, "/output", false, false, -1},
    {launch->scratch, "/scratch", false, false, -1}, {launch->kernel, "/kernel", true, false, -1}, {"/dev/null", "/dev/null", false, true, -1},
    {library.interpreter, library.interpreter, true, false, -1}, {library.libc, library.libc, true, false, -1}};
  // Nothing that is mounted here is seen elsewhere, nor the other way round.
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return no("private", why);
  // All are held before the root covers what may be above one of them.
  for (size_t i = 0; i < COUNT_OF(files); i++)
    if (!take(&files[i], why)) return false;
  snprintf(size, sizeof size, "mode=0700,size=%lluM,nr_inodes=64", (unsigned long long)launch->memory + MEMORY_BESIDES);
  if (mount("reader", launch->directory, "tmpfs", MS_NOSUID | MS_NODEV, size) != 0 || chdir(launch->directory) != 0) return no("tmpfs", why);
  if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) return no("pivot_root", why);
  for (size_t i = 0; i < COUNT_OF(files); i++)
    if (!show(&files[i], why)) return false;
  if (!write_archive(launch->archive, why)) return false;
  return mkdir("/tmp", 0700) == 0 || no("tmp", why);
}

// --- the process ---------------------------------------------------------------------------------------------------------------

static bool place_descriptors(const struct launch *launch, struct failure *why) {
  // The first three are taken already (see main), so none of these is among them.
  if (dup2(launch->voice, STDOUT_FILENO) < 0 || dup2(launch->log, STDERR_FILENO) < 0) return no("descriptors", why);
  if (dup2(launch->ready, READY) < 0) return no("descriptors", why);
  return syscall(SYS_close_range, READY + 1U, ~0U, 0U) == 0 || no("descriptors", why);
}

static _Noreturn void run_kernel(const struct launch *launch) {
  // `d`: the bytes are data, and name no backing file (see check_disk). `c`: no locks, which a network file system may not have.
  static const char *const options[] = {"initrd=/archive", "ubd0rdc=/disk", "ubd1dc=/output", "ubd2dc=/scratch", "con=null", "con0=null,fd:2", "ssl=null",
    "ssl0=null,fd:1", "uml_dir=/tmp", "umid=reader", "rdinit=/init", "quiet", "noreboot", "oops=panic", "panic=-1"};
  AUTO_WORDS argv = {0}, environment = {0};
  AUTO_BUFFER memory = {0};
  buffer_print(&memory, "mem=%lluM", (unsigned long long)launch->memory);
  words_add_text(&argv, "linux");
  words_add_text(&argv, memory.at);
  for (size_t i = 0; i < COUNT_OF(options); i++) words_add_text(&argv, options[i]);
  words_add_text(&environment, "TMPDIR=/tmp");
  execve("/kernel", argv.items, environment.items);
  fprintf(stderr, "the kernel can't be started: %s\n", strerror(errno));
  _exit(127);
}

// Another death of the parent than the one that is told of has none to tell.
static bool die_with(int parent) {
  return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && (parent < 0 || getppid() == parent);
}

// The first process of the namespace: it starts the kernel, waits for whatever is left to it, and ends when the kernel does.
static _Noreturn void be_first(const struct launch *launch, uid_t uid, gid_t gid) {
  struct failure why = {0};
  // When the host has no memory left, this is what it ends first.
  bool chosen = put("/proc/self/oom_score_adj", "1000");
  (void)chosen;
  bool ready = (die_with(-1) || no("prctl", &why)) && map_account(uid, gid, &why) && make_root(launch, &why) &&
               confine_use(&(struct confinement){.memory = launch->memory, .file_most = launch->file_most, .seconds = launch->seconds, .descriptors = 256}, &why) &&
               confine_rights(0, &why);
  AUTO_BUFFER word = {0};
  buffer_text(&word, ready ? "+" : why.what);
  // Nothing listens any more when the parent died before its death was to be told of.
  if (!place_descriptors(launch, &why) || !write_all(READY, word.at, word.length) || !ready || close(READY) != 0) _exit(1);
  pid_t kernel = fork();
  if (kernel == 0) {
    if (!die_with(1)) _exit(1);
    run_kernel(launch);
  }
  for (int status; kernel > 0;) {
    pid_t ended = wait(&status);
    if (ended == kernel) _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    if (ended < 0 && errno != EINTR) break;
  }
  _exit(1);
}

bool launch_guest(const struct launch *launch, pid_t *pid, struct failure *why) {
  const unsigned long spaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  uid_t uid = geteuid();
  gid_t gid = getegid();
  *pid = (pid_t)syscall(SYS_clone, spaces | SIGCHLD, NULL, NULL, NULL, NULL);
  if (*pid == 0) be_first(launch, uid, gid);
  return *pid > 0 || fail(why, ERROR_USERNS_UNAVAILABLE, "no namespaces for the reader: %s", strerror(errno));
}
