/* The least that a start in an image can be: the system calls that make such a root, and nothing else. No configuration, no checks, no look-ups,
 * no message. Setuid root:
 *   minimal IMAGE MOUNTPOINT PROGRAM [ARGUMENT...] */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SAFE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

static void must(int fine, const char *what) {
  if (!fine) perror(what), exit(1);
}

static int clone_tree(const char *path, uint64_t attributes) {
  int tree = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  struct mount_attr set = {.attr_set = attributes, .propagation = MS_PRIVATE};
  must(tree >= 0 && syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &set, sizeof set) == 0, path);
  return tree;
}

static int create(const char *type, const char *const (*options)[2], uint64_t attributes) {
  int context = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
  for (; (*options)[0] != NULL; options++)
    must(syscall(SYS_fsconfig, context, (*options)[1] == NULL ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, (*options)[0], (*options)[1], 0) == 0, (*options)[0]);
  must(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0, type);
  int tree = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes);
  close(context);
  return tree;
}

static void attach(int tree, int directory, const char *name) {
  int target = openat(directory, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
  must(target >= 0 && syscall(SYS_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0, name);
  close(target);
}

static int loop(const char *image, char *path) {
  struct loop_config config = {.fd = (uint32_t)open(image, O_RDONLY | O_CLOEXEC), .info = {.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR}};
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  for (;;) {
    sprintf(path, "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
    int device = open(path, O_RDWR | O_CLOEXEC);
    if (device >= 0 && ioctl(device, LOOP_CONFIGURE, &config) == 0) return close(control), device;
    close(device);
  }
}

int main(int argc, char **argv) {
  static const char *const names[] = {"proc", "sys", "dev", "tmp", "var/tmp"};
  static const char *const files[] = {"etc/passwd", "etc/group", "etc/nsswitch.conf", "etc/hosts", "etc/resolv.conf", "etc/shadow"};
  static const uint64_t attributes[] = {SAFE | MOUNT_ATTR_NOEXEC, SAFE | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, SAFE, SAFE};
  int trees[5];
  char device[32], from[32];
  uid_t uid = getuid();
  gid_t gid = getgid();
  if (argc < 4 || geteuid() != 0) return 2;
  must(setgroups(0, NULL) == 0 && setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0, "becoming root");
  must(unshare(CLONE_NEWNS) == 0, "unshare");
  for (int i = 0; i < 5; i++) {
    sprintf(from, "/%s", names[i]);
    trees[i] = clone_tree(from, attributes[i]);
  }
  must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private");
  int scratch = create("tmpfs", (const char *const[][2]){{"mode", "0755"}, {NULL, NULL}}, SAFE);
  attach(scratch, AT_FDCWD, argv[2]);
  must(mkdirat(scratch, "lower", 0755) == 0 && mkdirat(scratch, "upper", 0755) == 0 && mkdirat(scratch, "work", 0755) == 0 && mkdirat(scratch, "root", 0755) == 0, "mkdir");
  int held = loop(argv[1], device);
  int squashfs = create("squashfs", (const char *const[][2]){{"source", device}, {"ro", NULL}, {NULL, NULL}}, SAFE | MOUNT_ATTR_RDONLY);
  attach(squashfs, scratch, "lower");
  must(fchdir(scratch) == 0, "fchdir");
  int root = create("overlay", (const char *const[][2]){{"lowerdir", "lower"}, {"upperdir", "upper"}, {"workdir", "work"}, {NULL, NULL}}, SAFE);
  attach(root, scratch, "root");
  for (int i = 0; i < 6; i++) {
    unlinkat(root, files[i], 0);
    int file = openat(root, files[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    must(file >= 0 && write(file, "root:x:0:0::/:\n", 15) == 15, files[i]);
    close(file);
  }
  for (int i = 0; i < 5; i++) {
    mkdirat(root, "var", 0755);
    mkdirat(root, names[i], 0755);
    attach(trees[i], root, names[i]);
  }
  struct mount_attr readonly = {.attr_set = SAFE | MOUNT_ATTR_RDONLY};
  must(syscall(SYS_mount_setattr, root, "", AT_EMPTY_PATH, &readonly, sizeof readonly) == 0, "read-only");
  must(fchdir(root) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0, "pivot_root");
  close(held);
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  must(setgroups(1, &gid) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "drop");
  execv(argv[3], argv + 3);
  return perror(argv[3]), 127;
}
