// shifter-confined: runs a program on the files of one directory, and on nothing else: in a root of its own that shows the system's programs and
// libraries and that directory, without network, without rights, within limits. For tools that read what a stranger made.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mechanism/open.h"

static const char help[] =
    "shifter-confined --directory DIRECTORY [--user UID:GID] [--file-bytes N] [--seconds N] [--memory MIB] [--proc yes] -- PROGRAM [ARGUMENT...]\n"
    "\n"
    "Runs a program of the system in a root where DIRECTORY is /room, its working directory, and /usr is read-only; there is no network and\n"
    "nothing else but, where it is asked for, /proc. Root gives the account to become. The limits are those of a file that it writes, of\n"
    "processor time and of memory. On standard error, when it can't be started:\n"
    "  CODE WHAT\n";

struct request {
  const char *directory, *user, *proc;
  uint64_t file_bytes, seconds, memory;
  uid_t uid;
  gid_t gid;
  char **command;
};

static int refuse(const struct failure *why) {
  AUTO_BUFFER line = {0};
  failure_report(why, &line);
  write_message(&line);
  return error_exit(why->code);
}

static bool no(const char *step, struct failure *why) {
  return fail(why, ERROR_USERNS_UNAVAILABLE, "no sandbox for the program (%s: %s)", step, strerror(errno));
}

// --- options -------------------------------------------------------------------------------------------------------------------

static bool option(struct request *request, const char *name, const char *value) {
  const struct {
    const char *name, **text;
    uint64_t *number;
  } known[] = {{"--directory", &request->directory, NULL}, {"--user", &request->user, NULL}, {"--proc", &request->proc, NULL},
    {"--file-bytes", NULL, &request->file_bytes}, {"--seconds", NULL, &request->seconds}, {"--memory", NULL, &request->memory}};
  for (size_t i = 0; i < COUNT_OF(known); i++) {
    if (strcmp(name, known[i].name) != 0) continue;
    if (known[i].number != NULL) return number_parse(value, strlen(value), LARGEST_SIZE, false, known[i].number) && *known[i].number > 0;
    *known[i].text = value;
    return value[0] != '\0';
  }
  return false;
}

static bool read_account(struct request *request, struct failure *why) {
  request->uid = geteuid();
  request->gid = getegid();
  if (request->uid != 0) return request->user == NULL || fail(why, ERROR_USAGE, "--user is root's to give");
  uint64_t uid = 0, gid = 0;
  size_t rest = 0, length = request->user == NULL ? 0 : strlen(request->user);
  const char *group = request->user == NULL ? NULL : text_cut(request->user, &length, ':', &rest);
  if (group == NULL || !number_parse(request->user, length, LARGEST_ID, false, &uid) || !number_parse(group, rest, LARGEST_ID, false, &gid) || uid == 0 || gid == 0)
    return fail(why, ERROR_USAGE, "root gives the account to become: --user UID:GID, neither of them 0");
  request->uid = (uid_t)uid;
  request->gid = (gid_t)gid;
  return true;
}

static bool read_request(int argc, char **argv, struct request *request, struct failure *why) {
  *request = (struct request){.file_bytes = LARGEST_SIZE, .seconds = 86400, .memory = 4096};
  int i = 1;
  for (; i + 1 < argc && strcmp(argv[i], "--") != 0; i += 2)
    if (!option(request, argv[i], argv[i + 1])) return fail(why, ERROR_USAGE, "%s is no option of --help, or its value is none", argv[i]);
  if (request->directory == NULL || i + 1 >= argc || strcmp(argv[i], "--") != 0) return fail(why, ERROR_USAGE, "--directory and a program are needed");
  request->command = argv + i + 1;
  return read_account(request, why);
}

// --- the root ------------------------------------------------------------------------------------------------------------------

static bool put(const char *path, const char *text) {
  AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd >= 0 && write_all(fd, text, strlen(text));
}

// Root has what it takes for a mount namespace; anybody else gets it in a user namespace, where he keeps his number.
static bool enter_namespaces(const struct request *request, struct failure *why) {
  int spaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  if (geteuid() == 0) return unshare(spaces) == 0 || no("unshare", why);
  char users[48], groups[48];
  snprintf(users, sizeof users, "%u %u 1", request->uid, request->uid);
  snprintf(groups, sizeof groups, "%u %u 1", request->gid, request->gid);
  if (unshare(spaces | CLONE_NEWUSER) != 0) return no("unshare", why);
  return (put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", users) && put("/proc/self/gid_map", groups)) || no("map", why);
}

struct shown {
  const char *from, *at; // a directory or file of the host, and its place below the new root
  bool writable, recursive, may_run, device;
  int tree;
};

// What a system has not is not shown. Of the host's mounts below one none is shown, but for those below /usr, without which an account's namespace does
// not get it, and those of /proc, which hide what the site hides.
static bool take(struct shown *shown, struct failure *why) {
  unsigned recursive = shown->recursive ? AT_RECURSIVE : 0;
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID | (shown->device ? 0 : MOUNT_ATTR_NODEV) | (shown->writable ? 0 : MOUNT_ATTR_RDONLY) | (shown->may_run ? 0 : MOUNT_ATTR_NOEXEC)};
  struct stat status;
  shown->tree = -1;
  // On a merged system /lib is a link into /usr, and made anew.
  if (lstat(shown->from, &status) != 0 || S_ISLNK(status.st_mode)) return true;
  shown->tree = (int)syscall(SYS_open_tree, AT_FDCWD, shown->from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
  return (shown->tree >= 0 && syscall(SYS_mount_setattr, shown->tree, "", AT_EMPTY_PATH | recursive, &attributes, sizeof attributes) == 0) || no(shown->from, why);
}

static bool show(const struct shown *shown, struct failure *why) {
  char target[64];
  ssize_t length = -1;
  if (shown->tree < 0) {
    AUTO_BUFFER old = {0};
    buffer_print(&old, "old%s", shown->from);
    length = readlink(old.at, target, sizeof target - 1);
    if (length <= 0) return true;
    target[length] = '\0';
    return symlink(target, shown->at) == 0 || no(shown->at, why);
  }
  struct stat status;
  if (fstat(shown->tree, &status) != 0) return no(shown->at, why);
  AUTO_FD file = S_ISDIR(status.st_mode) ? -1 : open(shown->at, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (S_ISDIR(status.st_mode) ? mkdir(shown->at, 0755) != 0 : file < 0) return no(shown->at, why);
  return syscall(SYS_move_mount, shown->tree, "", AT_FDCWD, shown->at, MOVE_MOUNT_F_EMPTY_PATH) == 0 || no(shown->at, why);
}

static bool make_root(const struct request *request, struct failure *why) {
  struct shown all[] = {{"/usr", "usr", false, true, true, false, -1}, {"/lib", "lib", false, false, true, false, -1}, {"/lib64", "lib64", false, false, true, false, -1},
    {"/lib32", "lib32", false, false, true, false, -1}, {"/bin", "bin", false, false, true, false, -1}, {"/sbin", "sbin", false, false, true, false, -1},
    {"/etc/ld.so.cache", "etc/ld.so.cache", false, false, false, false, -1},
    {"/dev/null", "dev/null", true, false, false, true, -1}, {"/dev/zero", "dev/zero", true, false, false, true, -1},
    {"/dev/urandom", "dev/urandom", true, false, false, true, -1}, {request->directory, "room", true, false, false, false, -1}, {request->proc == NULL ? "/nowhere" : "/proc", "proc", true, true, false, false, -1}};
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return no("private", why);
  for (size_t i = 0; i < COUNT_OF(all); i++)
    if (!take(&all[i], why)) return false;
  // The new root covers /tmp in this namespace alone.
  if (mount("confined", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64k,nr_inodes=64") != 0 || chdir("/tmp") != 0) return no("tmpfs", why);
  if (mkdir("old", 0700) != 0 || mkdir("etc", 0755) != 0 || mkdir("dev", 0755) != 0 || mkdir("tmp", 0755) != 0) return no("root", why);
  if (syscall(SYS_pivot_root, ".", "old") != 0 || chdir("/") != 0) return no("pivot_root", why);
  for (size_t i = 0; i < COUNT_OF(all); i++)
    if (!show(&all[i], why)) return false;
  if (umount2("old", MNT_DETACH) != 0 || rmdir("old") != 0) return no("old root", why);
  return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) == 0 || no("read-only root", why);
}

// --- the program ---------------------------------------------------------------------------------------------------------------

static bool limit(int which, uint64_t most) {
  const struct rlimit limits = {most, most};
  return setrlimit((__rlimit_resource_t)which, &limits) == 0;
}

static bool give_up(const struct request *request, struct failure *why) {
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return no("capabilities", why);
  if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(request->gid, request->gid, request->gid) != 0 || setresuid(request->uid, request->uid, request->uid) != 0))
    return no("account", why);
  if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_FSIZE, request->file_bytes) || !limit(RLIMIT_CPU, request->seconds) || !limit(RLIMIT_AS, request->memory << 20))
    return no("limits", why);
  // No right is left to the program: those in a user namespace end with exec, since the number is not 0.
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 || no("no_new_privs", why);
}

int main(int argc, char **argv) {
  struct failure why = {0};
  struct request request;
  if (argc == 2 && strcmp(argv[1], "--help") == 0) return write_all(STDOUT_FILENO, help, sizeof help - 1) ? 0 : 1;
  if (argc == 2 && strcmp(argv[1], "--version") == 0) return puts("shifter-confined " PROGRAM_VERSION) >= 0 ? 0 : 1;
  pid_t parent = getppid();
  if (!read_request(argc, argv, &request, &why)) return refuse(&why);
  // One that a path names is the host's, and shown to nobody; others are looked for in the new root.
  const char *program = request.command[0];
  AUTO_FD file = strchr(program, '/') == NULL ? -1 : open(program, O_PATH | O_CLOEXEC);
  if (!enter_namespaces(&request, &why) || !make_root(&request, &why) || !give_up(&request, &why) ||
      (chdir("/room") != 0 && !no("/room", &why)))
    return refuse(&why);
  // Whoever started it may be killed; taking another account on has undone what was asked for before.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != parent || syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0) return 1;
  static char environment_path[] = "PATH=/usr/local/bin:/usr/bin:/bin", environment_locale[] = "LC_ALL=C.UTF-8", environment_temporary[] = "TMPDIR=/room";
  char *environment[] = {environment_path, environment_locale, environment_temporary, NULL};
  if (file >= 0) execveat(file, "", request.command, environment, AT_EMPTY_PATH);
  else execvpe(program, request.command, environment);
  fail(&why, ERROR_TOOL_MISSING, "%s can't be started: %s", program, strerror(errno));
  return refuse(&why);
}
