#include "mechanism/root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mechanism/building.h"
#include "mechanism/cache.h"
#include "mechanism/hooks.h"
#include "mechanism/identity.h"
#include "mechanism/rights.h"
#include "policy/path.h"

// --- Clones of the host, taken while its mounts are still as the caller sees them ---

// A directory of the host, by an open `source` or else at the path where it is shown inside. False with errno.
static bool clone_tree(struct root *root, struct tree tree, const char *to, int source, uint64_t attributes, uint64_t propagation) {
  AUTO_FD fd = source < 0 ? tree_clone(AT_FDCWD, to, true) : tree_clone(source, "", true);
  if (fd < 0 || !tree_set(fd, attributes, propagation, true)) return false;
  tree.fd = steal_fd(&fd);
  tree.directory = true;
  trees_add(&root->trees, tree, to);
  return true;
}

// One of the host's own. Of those that programs share with it, /tmp and /var/tmp, one may be missing.
static bool clone_system(struct root *root, enum tree_kind kind, const char *path, uint64_t attributes, struct failure *why) {
  bool shared = kind == TREE_SHARED;
  bool cloned = clone_tree(root, (struct tree){.kind = kind}, path, -1, attributes, shared ? root->propagation : MS_PRIVATE);
  return cloned || (shared && errno == ENOENT) || mount_failed(path, why);
}

static bool site_failed(const struct module *module, const char *path, const char *what, struct failure *why) {
  if (module == NULL) return fail(why, ERROR_SITE_FS_FAILED, "%s: %s", path, what);
  return fail(why, ERROR_MODULE_FAILED, "module '%s': %s: %s", module->name, path, what);
}

static bool clone_site(struct root *root, const struct module *module, const struct volume *volume, struct failure *why) {
  uint64_t propagation = root->propagation;
  // A namespace of fewer rights has the host's mounts in one piece.
  bool recursive = without_setuid || (volume->flags & VOLUME_RECURSIVE) != 0, cache = (volume->flags & VOLUME_CACHE) != 0;
  uint64_t attributes = SAFE | ((volume->flags & VOLUME_READ_ONLY) != 0 ? MOUNT_ATTR_RDONLY : 0);
  if ((volume->flags & VOLUME_SLAVE) != 0) propagation = MS_SLAVE;
  if ((volume->flags & VOLUME_PRIVATE) != 0) propagation = MS_PRIVATE;
  struct stat status;
  AUTO_FD fd = cache ? cache_make(root->plan, volume, why) : tree_clone(AT_FDCWD, volume->from, recursive);
  if (cache && fd < 0) return false;
  if (fd < 0 || !tree_set(fd, attributes, propagation, recursive) || fstat(fd, &status) != 0) return site_failed(module, volume->from, strerror(errno), why);
  enum tree_kind kind = module == NULL ? TREE_SITE : TREE_MODULE;
  static const char *const system[] = {"/proc", "/sys", "/dev"};
  for (size_t i = 0; i < COUNT_OF(system); i++)
    if (path_is_within(volume->to, system[i])) kind = TREE_BELOW_SYSTEM;
  trees_add(&root->trees, (struct tree){kind, steal_fd(&fd), NULL, S_ISDIR(status.st_mode), module}, volume->to);
  return true;
}

// A tree of the site's own, shown read-only as it is. Only root can change which one it is.
static bool clone_opt(struct root *root, enum tree_kind kind, const struct module *module, const char *path, const char *to, struct failure *why) {
  AUTO_FD source = -1;
  if (!opt_open(module == NULL ? "optUdiImage" : "copyPath", path, &source, why)) return false;
  bool cloned = clone_tree(root, (struct tree){.kind = kind, .module = module}, to, source, SAFE | MOUNT_ATTR_RDONLY, MS_PRIVATE);
  return cloned || site_failed(module, path, strerror(errno), why);
}

static bool clone_module(struct root *root, const struct module *module, struct failure *why) {
  const struct volume_map *map = &module->values[MODULE_SITE_FS].volumes;
  const char *path = module->values[MODULE_COPY_PATH].text;
  for (size_t i = 0; i < map->count; i++)
    if (!clone_site(root, module, &map->items[i], why)) return false;
  AUTO_BUFFER to = {0};
  buffer_print(&to, "/opt/udiImage/modules/%s", module->name);
  return path == NULL || clone_opt(root, TREE_MODULE, module, path, to.at, why);
}

static bool is_covered(const struct root_plan *plan, const char *path) {
  bool covered = volume_map_covers(&plan->config.udiroot[UDIROOT_SITE_FS].volumes, path);
  for (size_t i = 0; i < plan->modules.count; i++)
    covered = covered || volume_map_covers(&plan->modules.items[i]->values[MODULE_SITE_FS].volumes, path);
  return covered;
}

// The home directory, as far as the user himself can reach it; none is no mistake.
static bool clone_home(struct root *root, struct failure *why) {
  const struct root_plan *plan = root->plan;
  const char *named = plan->accounts.caller.home;
  if (plan->config.runtime[RUNTIME_MOUNT_HOME].number == 0 || !home_is_mountable(named)) return true;
  AUTO_FREE char *home = path_clean(named, strlen(named));
  if (is_covered(plan, home)) return true;
  if (!file_identity_set(&plan->who, why)) return false;
  AUTO_FD source = open_resolved(AT_FDCWD, home, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS);
  file_identity_root();
  if (source < 0) return true;
  return clone_tree(root, (struct tree){.kind = TREE_HOME}, home, source, SAFE, root->propagation) || mount_failed("the home directory", why);
}

// The directory of a local image. What was opened before belongs to the namespace that was left, so it is reached once more with the
// caller's rights, and must still be the same.
static bool clone_local(struct root *root, struct failure *why) {
  const struct image *image = &root->plan->image;
  struct stat wanted, found;
  if (!file_identity_set(&root->plan->who, why)) return false;
  AUTO_FD source = open_resolved(AT_FDCWD, image->id, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS);
  file_identity_root();
  if (source < 0 || fstat(source, &found) != 0 || fstat(image->file.fd, &wanted) != 0 || wanted.st_dev != found.st_dev || wanted.st_ino != found.st_ino)
    return fail(why, ERROR_IMAGE_NOT_FOUND, "there is no image 'local:%s' for you", image->id);
  root->fd = tree_clone(source, "", true);
  return (root->fd >= 0 && tree_set(root->fd, SAFE | MOUNT_ATTR_RDONLY, MS_PRIVATE, true)) || mount_failed("the local image", why);
}

static bool clone_host(struct root *root, struct failure *why) {
  const struct root_plan *plan = root->plan;
  const struct conf_value *conf = plan->config.udiroot;
  root->propagation = strcmp(conf[UDIROOT_MOUNT_PROPAGATION_STYLE].text, "slave") == 0 ? MS_SLAVE : MS_PRIVATE;
  bool cloned = clone_system(root, TREE_SYSTEM, "/proc", SAFE | MOUNT_ATTR_NOEXEC, why) &&
                clone_system(root, TREE_SYSTEM, "/sys", SAFE | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY, why) &&
                clone_system(root, TREE_SYSTEM, "/dev", MOUNT_ATTR_NOSUID, why) &&
                clone_system(root, TREE_SHARED, "/tmp", SAFE, why) && clone_system(root, TREE_SHARED, "/var/tmp", SAFE, why);
  const struct volume_map *site = &conf[UDIROOT_SITE_FS].volumes;
  for (size_t i = 0; cloned && i < site->count; i++) cloned = clone_site(root, NULL, &site->items[i], why);
  const char *opt = conf[UDIROOT_OPT_UDI_IMAGE].text;
  if (cloned && opt != NULL) cloned = clone_opt(root, TREE_OPT, NULL, opt, "/opt/udiImage", why);
  for (size_t i = 0; cloned && i < plan->modules.count; i++) cloned = clone_module(root, plan->modules.items[i], why);
  return cloned && clone_home(root, why);
}

// --- The root itself ---

// Before: `/` is private in this namespace. After: a tmpfs nobody else sees covers udiMount.
static bool mount_scratch(struct root *root, struct failure *why) {
  AUTO_FD target = scratch_place(&root->plan->config, why);
  if (target < 0) return false;
  // What the user writes to a writable root lies here, and is charged to the memory of his job.
  AUTO_BUFFER size = {0};
  buffer_print(&size, "%llu", root->plan->writable ? (unsigned long long)root->plan->config.runtime[RUNTIME_WRITABLE_SIZE].number : 64ULL << 20);
  const struct mount_option options[] = {{"mode", "0755"}, {"size", size.at}, {"nr_inodes", root->plan->writable ? "1048576" : "65536"}};
  root->scratch = mount_create("tmpfs", options, COUNT_OF(options), SAFE, why);
  if (root->scratch < 0) return false;
  if (!tree_attach(root->scratch, target)) return mount_failed("attaching the tmpfs", why);
  static const char *const names[] = {"lower", "upper", "work", "root", "etc", "var", "opt", "site"};
  for (size_t i = 0; i < COUNT_OF(names); i++)
    if (mkdirat(root->scratch, names[i], 0755) != 0) return mount_failed("filling the tmpfs", why);
  return true;
}

static bool attach_at(int tree, int directory, const char *name, struct failure *why) {
  AUTO_FD target = openat(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return (target >= 0 && tree_attach(tree, target)) || mount_failed(name, why);
}

// Before: the image file was opened and checked, or a device was seen to show it. After: it is mounted read-only at "lower".
static bool mount_image(struct root *root, struct failure *why) {
  AUTO_FD tree = layer_mount(root->plan, why);
  return tree >= 0 && attach_at(tree, root->scratch, "lower", why);
}

// Layer paths are relative to the tmpfs, so no character of a site's path can mean anything to the overlay.
static int create_overlay(const struct root *root, const struct mount_option *layers, size_t count, struct failure *why) {
  struct mount_option options[8] = {{"source", "shifter"}, {"index", "off"}, {"redirect_dir", "nofollow"}, {"metacopy", "off"}};
  size_t common = 4;
  // In a user namespace its marks are user.* attributes, and the kernel then follows and makes neither redirects nor metacopies.
  if (without_setuid) options[2] = (struct mount_option){"userxattr", NULL}, common = 3;
  memcpy(options + common, layers, count * sizeof *layers);
  if (fchdir(root->scratch) != 0) return mount_failed("entering the tmpfs", why), -1;
  return mount_create("overlay", options, common + count, SAFE, why);
}

static bool mount_overlay(struct root *root, struct failure *why) {
  const struct mount_option layers[] = {{"lowerdir", "lower"}, {"upperdir", "upper"}, {"workdir", "work"}};
  root->fd = create_overlay(root, layers, COUNT_OF(layers), why);
  root->growable = true;
  return root->fd >= 0 && attach_at(root->fd, root->scratch, "root", why);
}

// --- What is attached ---

static bool attach_tree(const struct root *root, const struct tree *tree, struct failure *why) {
  AUTO_FD target = -1;
  if (tree->kind == TREE_SYSTEM)
    target = system_directory(root, tree->to);
  else
    target = tree->directory ? inside_directory(root, tree->to) : inside_file(root, tree->to);
  // A link of the image must not put what others can write over its root or over the files written for the caller.
  if (target >= 0 && hides_etc(root, target)) return fail(why, ERROR_IMAGE_LAYOUT, "%s leads to /, /etc or a directory above it", tree->to);
  if (target >= 0 && tree_attach(tree->fd, target)) return true;
  if (tree->kind == TREE_HOME) return true; // the program starts in another directory then, and says so
  if (tree->kind == TREE_SHARED && !root->growable && errno == ENOENT) return true;
  if (tree->kind != TREE_SHARED && tree->kind != TREE_SYSTEM) {
    AUTO_BUFFER what = {0};
    buffer_print(&what, "no mount point inside: %s", strerror(errno));
    return site_failed(tree->module, tree->to, what.at, why);
  }
  if (errno == ENOTDIR || errno == ELOOP || errno == EEXIST || errno == ENOENT)
    return fail(why, ERROR_IMAGE_LAYOUT, "%s is not a directory", tree->to);
  return mount_failed(tree->to, why);
}

static bool attach_kind(const struct root *root, enum tree_kind kind, struct failure *why) {
  for (size_t i = 0; i < root->trees.count; i++)
    if (root->trees.items[i].kind == kind && !attach_tree(root, &root->trees.items[i], why)) return false;
  return true;
}

// The site's tree has no mount points for the trees of modules, and nothing is written to the host: so these lie in a layer above it.
static bool add_module_places(struct root *root, struct tree *opt, struct failure *why) {
  AUTO_FD places = openat(root->scratch, "opt", O_PATH | O_DIRECTORY | O_CLOEXEC);
  size_t count = 0;
  for (size_t i = 0; i < root->trees.count; i++) {
    const char *to = root->trees.items[i].to;
    if (root->trees.items[i].kind != TREE_MODULE || !path_is_within(to, "/opt/udiImage/modules")) continue;
    if (places < 0 || (count++ == 0 && mkdirat(places, "modules", 0755) != 0)) return mount_failed("filling the tmpfs", why);
    if (mkdirat(places, to + strlen("/opt/udiImage/"), 0755) != 0 && errno != EEXIST) return mount_failed("filling the tmpfs", why);
  }
  if (count == 0) return true;
  if (!attach_at(opt->fd, root->scratch, "site", why)) return false;
  const struct mount_option layers[] = {{"lowerdir", "opt:site"}};
  cleanup_fd(&opt->fd);
  opt->fd = create_overlay(root, layers, COUNT_OF(layers), why);
  return opt->fd >= 0;
}

static bool attach_opt(struct root *root, struct failure *why) {
  for (size_t i = 0; i < root->trees.count; i++)
    if (root->trees.items[i].kind == TREE_OPT && !add_module_places(root, &root->trees.items[i], why)) return false;
  return attach_kind(root, TREE_OPT, why) && attach_kind(root, TREE_MODULE, why);
}

// --- Hooks of the site ---

static bool has_hooks(const struct root_plan *plan) {
  bool found = plan->config.udiroot[UDIROOT_SITE_PRE_MOUNT_HOOK].text != NULL || plan->config.udiroot[UDIROOT_SITE_POST_MOUNT_HOOK].text != NULL;
  for (size_t i = 0; i < plan->modules.count; i++) found = found || plan->modules.items[i]->values[MODULE_ROOTHOOK].text != NULL;
  return found;
}

static bool run_hook(const struct root *root, const char *setting, const struct conf_value *value, struct failure *why) {
  const struct site_program hook = {.setting = setting, .path = value->text, .directory = root->fd, .descriptor = -1};
  return value->text == NULL || run_site_program(&hook, why);
}

static bool run_module_hooks(const struct root *root, struct failure *why) {
  for (size_t i = 0; i < root->plan->modules.count; i++) {
    const struct module *module = root->plan->modules.items[i];
    AUTO_BUFFER setting = {0};
    buffer_print(&setting, "module_%s_roothook", module->name);
    if (!run_hook(root, setting.at, &module->values[MODULE_ROOTHOOK], why)) return false;
  }
  return true;
}

// Site file systems and modules, with the site's programs between them, which work in the root that is built. A link of the image
// would lead them to the host's files, so none can be followed meanwhile, nor one on what is mounted in a local directory. What they mount gets the flags of all mounts.
static bool attach_site(struct root *root, struct failure *why) {
  const struct conf_value *conf = root->plan->config.udiroot;
  bool hooks = has_hooks(root->plan), deep = root->plan->image.local;
  if (hooks && !tree_set(root->fd, MOUNT_ATTR_NOSYMFOLLOW, 0, deep)) return mount_failed("nosymfollow", why);
  if (!run_hook(root, "sitePreMountHook", &conf[UDIROOT_SITE_PRE_MOUNT_HOOK], why)) return false;
  if (!attach_kind(root, TREE_SITE, why)) return false;
  if (!run_hook(root, "sitePostMountHook", &conf[UDIROOT_SITE_POST_MOUNT_HOOK], why)) return false;
  if (!attach_opt(root, why) || !run_module_hooks(root, why)) return false;
  if (!hooks || (tree_unset(root->fd, MOUNT_ATTR_NOSYMFOLLOW, deep) && tree_set(root->fd, SAFE, 0, true))) return true;
  return mount_failed("mounts of hooks", why);
}

// --- Files that are made ---

static bool write_files(struct root *root, struct failure *why) {
  root->etc = inside_directory(root, "/etc");
  if (root->etc < 0) return fail(why, ERROR_IMAGE_LAYOUT, "/etc is not a directory");
  AUTO_FD var = inside_directory(root, "/var");
  if (var < 0) return fail(why, ERROR_IMAGE_LAYOUT, "/var is not a directory");
  return etc_files_write(&root->plan->etc, root->etc, why) && made_files_write(&root->plan->var, "/var", var, why);
}

// In a local directory files that exist are covered, since nothing can be written there.
static bool cover_etc(struct root *root, struct failure *why) {
  AUTO_FD made = openat(root->scratch, "etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (made < 0 || !etc_files_write(&root->plan->etc, made, why)) return made < 0 ? mount_failed("etc", why) : false;
  int directory = root->etc = open_resolved(root->fd, "etc", O_PATH | O_DIRECTORY, 0, INSIDE);
  for (size_t i = 0; directory >= 0 && i < root->plan->etc.count; i++) {
    const char *name = root->plan->etc.items[i].name;
    struct stat status;
    AUTO_FD target = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (target < 0 || fstat(target, &status) != 0 || !S_ISREG(status.st_mode)) continue;
    AUTO_FD tree = tree_clone(made, name, false);
    if (tree < 0 || !tree_set(tree, SAFE | MOUNT_ATTR_RDONLY, MS_PRIVATE, false) || !tree_attach(tree, target))
      return mount_failed("covering a file in /etc", why);
  }
  return true;
}

// --- The whole ---

static bool leave_host(const struct root *root, struct failure *why) {
  // The new root goes on top of the old one, which is then detached with everything below it, the tmpfs included.
  if (fchdir(root->fd) != 0) return mount_failed("entering the root", why);
  if (syscall(SYS_pivot_root, ".", ".") != 0) return mount_failed("pivot_root", why);
  if (umount2(".", MNT_DETACH) != 0) return mount_failed("detaching the host", why);
  return chdir("/") == 0 || mount_failed("entering the new root", why);
}

// Files are written before anything of the host is attached: until then there is nothing that a link of the image could lead to but
// the image itself.
static bool build(struct root *root, struct failure *why) {
  const struct root_plan *plan = root->plan;
  if (plan->writable && plan->image.local) return fail(why, ERROR_OPTION_UNAVAILABLE, "--writable needs an image; a local: directory is shown as it is");
  if (!clone_host(root, why) || (plan->image.local && !clone_local(root, why))) return false;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return mount_failed("making / private", why);
  if (!mount_scratch(root, why)) return false;
  // A local directory is shown as it is: nothing is created in it, since it is the host's and perhaps the user's own.
  bool image = plan->image.local ? attach_at(root->fd, root->scratch, "root", why) : mount_image(root, why) && mount_overlay(root, why);
  if (!image || !note_mount(root, why)) return false;
  if (!(root->growable ? write_files(root, why) : cover_etc(root, why))) return false;
  if (!note_etc(root)) return fail(why, ERROR_IMAGE_LAYOUT, "/etc lies too deep");
  bool attached = attach_kind(root, TREE_SHARED, why) && attach_site(root, why) && attach_kind(root, TREE_SYSTEM, why) &&
                  attach_kind(root, TREE_BELOW_SYSTEM, why) && attach_kind(root, TREE_HOME, why) && attach_user_volumes(root, why);
  if (!attached) return false;
  if (!plan->writable && !tree_set(root->fd, SAFE | MOUNT_ATTR_RDONLY, 0, false)) return mount_failed("making the root read-only", why);
  return leave_host(root, why);
}

bool root_enter(const struct root_plan *plan, struct failure *why) {
  struct root root = {.plan = plan, .scratch = -1, .fd = -1, .etc = -1};
  if (!namespace_enter(plan, why)) return false;
  bool built = build(&root, why);
  cleanup_fd(&root.scratch);
  cleanup_fd(&root.fd);
  cleanup_fd(&root.etc);
  trees_free(&root.trees);
  return built;
}
