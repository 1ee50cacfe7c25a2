// The setuid program's own ways.
#include "mechanism/rights.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "mechanism/identity.h"
#include "mechanism/loop.h"
#include "mechanism/mounts.h"
#include "mechanism/open.h"
#include "mechanism/site.h"

#define NO_GROUP 65534 // the image owner is known by uid alone; his files need no group

const bool without_setuid = false;

// Where the other program is: beside this one, as they are built, or where it is installed.
static char *other_program(void) {
  char here[4096];
  ssize_t length = readlink("/proc/self/exe", here, sizeof here);
  AUTO_BUFFER file = {0};
  if (length > 0 && length < (ssize_t)sizeof here) buffer_add(&file, here, (size_t)length);
  buffer_text(&file, "-userns");
  if (access(file.at, X_OK) != 0) file.length = 0, buffer_text(&file, USERNS_PROGRAM);
  return steal(&file.at);
}

// Without root's rights there is nothing to lend to anybody: the other program has the caller's own, as any program of his.
bool rights_check(char *const *argv, char *const *environment, struct failure *why) {
  static char name[] = "shifter", *unnamed[] = {name, NULL};
  if (geteuid() == 0) return true;
  if (geteuid() != getuid() || getegid() != getgid()) return fail(why, ERROR_NOT_SETUID, "effective uid %u, gid %u, and the caller's are others", geteuid(), getegid());
  AUTO_FREE char *other = other_program();
  if (access(other, X_OK) == 0) {
    AUTO_BUFFER line = {0};
    buffer_text(&line, "shifter: note: without root's rights (not setuid, or no_new_privs is set), so in a user namespace\n");
    write_message(&line);
    execve(other, argv[0] == NULL ? unnamed : argv, environment);
  }
  return fail(why, ERROR_NOT_SETUID, "effective uid %u, and %s: %s", geteuid(), other, strerror(errno));
}

bool rights_configuration(struct config *config, struct failure *why) {
  return site_load(CONFIG_DIRECTORY, config, why);
}

// Before: the file identity is the image owner's. The directory, and then what is searched there.
static bool search(const char *path, uid_t owner, const struct image_reference *reference, const char *request, const struct identity *who,
                   struct image *image, struct failure *why) {
  AUTO_FREE char *unsafe = NULL;
  AUTO_FD directory = -1;
  enum walk walk = walk_protected(path, owner, &directory, &unsafe);
  if (walk == WALK_UNSAFE) return fail(why, ERROR_IMAGE_UNSAFE, "%s; runtime.conf says imageOwner=%u", unsafe, owner);
  return image_search(walk == WALK_OK ? directory : -1, owner, reference, request, who, image, why);
}

// Before: ids all root. After: image->file.fd is of a regular file that only the image owner can change, that fits its record, that the
// caller may use; the file identity is root's again.
bool rights_open_published(const struct config *config, const struct image_reference *reference, const char *request, const struct identity *who,
                           struct image *image, struct failure *why) {
  const struct identity owner = {.uid = (uid_t)config->runtime[RUNTIME_IMAGE_OWNER].number, .gid = NO_GROUP};
  if (owner.uid == who->uid) return fail(why, ERROR_IMAGE_UNSAFE, "the image path is your own");
  // On a root-squashed file system root can't read what only the owner may.
  if (owner.uid != 0 && !file_identity_set(&owner, why)) return false;
  bool opened = search(config->udiroot[UDIROOT_IMAGE_PATH].text, owner.uid, reference, request, who, image, why);
  if (owner.uid != 0) file_identity_root();
  return opened;
}

bool namespace_enter(const struct root_plan *plan, struct failure *why) {
  (void)plan;
  return unshare(CLONE_NEWNS) == 0 || mount_failed("unshare", why);
}

int scratch_place(const struct config *config, struct failure *why) {
  const char *path = config->udiroot[UDIROOT_UDI_MOUNT].text;
  AUTO_FREE char *unsafe = NULL;
  int place = -1;
  enum walk walk = walk_protected(path, 0, &place, &unsafe);
  if (walk == WALK_UNSAFE) fail(why, ERROR_MOUNT_FAILED, "udiMount: %s", unsafe);
  else if (walk != WALK_OK) fail(why, ERROR_MOUNT_FAILED, "udiMount: %s: %s", path, strerror(errno));
  return walk == WALK_OK ? place : -1;
}

// Only root can change which directory it is.
bool opt_open(const char *setting, const char *path, int *fd, struct failure *why) {
  return site_open(setting, path, S_IFDIR, fd, why);
}

// Each gives a detached read-only mount of the image file, as the file system it is named for and nothing else; -1 and *why.
static int mount_squashfs(const struct root_plan *plan, struct failure *why) {
  char path[LOOP_PATH];
  unsigned number;
  AUTO_FD attached = -1;
  if (plan->device >= 0 && !loop_name(plan->device, &number, path)) return mount_failed("the loop device of the image", why), -1;
  if (plan->device < 0 && !loop_attach(plan->image.file.fd, LOOP_READ_ONLY, &attached, path, why)) return -1;
  const struct mount_option options[] = {{"source", path}, {"ro", NULL}};
  AUTO_FD tree = mount_create("squashfs", options, COUNT_OF(options), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY, why);
  return tree >= 0 && loop_is_source(tree, plan->device >= 0 ? plan->device : attached, path, why) ? steal_fd(&tree) : -1;
}

int layer_mount(const struct root_plan *plan, struct failure *why) {
  static int (*const mounters[])(const struct root_plan *plan, struct failure *why) = {[FORMAT_SQUASHFS] = mount_squashfs};
  return mounters[plan->image.format](plan, why);
}
