#include "mechanism/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mechanism/open.h"

bool mount_failed(const char *step, struct failure *why) {
  if (errno == ENOSYS) return fail(why, ERROR_KERNEL_UNSUPPORTED, "%s is missing", step);
  if (errno == ENOMEM || errno == EMFILE || errno == ENFILE || errno == ENOSPC) return fail(why, ERROR_RESOURCE, "%s: %s", step, strerror(errno));
  return fail(why, ERROR_MOUNT_FAILED, "%s: %s", step, strerror(errno));
}

// What the kernel says of a failed mount waits in the context.
static bool create_failed(int context, const char *type, struct failure *why) {
  char text[256];
  int kept = errno;
  ssize_t length = read(context, text, sizeof text - 1);
  if (length > 0 && text[length - 1] == '\n') length--;
  text[length > 0 ? length : 0] = '\0';
  AUTO_BUFFER step = {0};
  buffer_print(&step, "mounting %s (%s)", type, text);
  errno = kept;
  return mount_failed(step.at, why);
}

int mount_create(const char *type, const struct mount_option *options, size_t count, unsigned attributes, struct failure *why) {
  AUTO_FD context = fsopen(type, FSOPEN_CLOEXEC);
  if (context < 0 && errno == ENODEV) return fail(why, ERROR_KERNEL_UNSUPPORTED, "the kernel does not know %s", type), -1;
  if (context < 0) return mount_failed("fsopen", why), -1;
  for (size_t i = 0; i < count; i++) {
    unsigned command = options[i].value == NULL ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
    if (fsconfig(context, command, options[i].key, options[i].value, 0) != 0) return create_failed(context, type, why), -1;
  }
  if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0) return create_failed(context, type, why), -1;
  int tree = fsmount(context, FSMOUNT_CLOEXEC, attributes);
  if (tree < 0) create_failed(context, type, why);
  return tree;
}

int tree_clone(int directory, const char *path, bool recursive) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0) | (*path == '\0' ? AT_EMPTY_PATH : 0);
  return open_tree(directory, path, flags);
}

bool tree_set(int tree, uint64_t attributes, uint64_t propagation, bool recursive) {
  struct mount_attr attr = {.attr_set = attributes, .propagation = propagation};
  return mount_setattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr) == 0;
}

bool tree_unset(int tree, uint64_t attributes, bool recursive) {
  struct mount_attr attr = {.attr_clr = attributes};
  return mount_setattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr) == 0;
}

bool tree_attach(int tree, int target) {
  return move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) == 0;
}
