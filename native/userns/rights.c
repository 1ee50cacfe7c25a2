// The ways of the program without setuid.
#include "mechanism/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

#include "mechanism/cache.h"
#include "mechanism/drop.h"
#include "mechanism/hooks.h"
#include "mechanism/identity.h"
#include "mechanism/mounts.h"
#include "mechanism/open.h"
#include "mechanism/prepared.h"
#include "mechanism/site.h"
#include "userns/userns.h"

const bool without_setuid = true;

static bool entered; // the outer namespace

static const char personal[] =
    "allowLibcPwdCalls=1\n"
    "populateEtcDynamically=1\n"
    "allowLocalChroot=1\n";

bool rights_check(char *const *argv, char *const *environment, struct failure *why) {
  (void)argv;
  surroundings_note(environment);
  if (geteuid() == getuid() && getegid() == getgid()) return true;
  return fail(why, ERROR_DROP_FAILED, "shifter-userns is installed setuid or setgid, which it must not be");
}

// A site's configuration where it has one. A person alone needs none.
bool rights_configuration(struct config *config, struct failure *why) {
  if (access(CONFIG_DIRECTORY "/udiRoot.conf", F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR))
    return site_load(CONFIG_DIRECTORY, config, why);
  *config = (struct config){0};
  return config_parse(config, UDIROOT_CONF, personal, sizeof personal - 1, "the defaults", why) && config_finish(config, true, "the defaults", why);
}

// --- What only root can do ---

bool run_site_program(const struct site_program *program, struct failure *why) {
  return fail(why, ERROR_SETUID_NEEDED, "%s: it runs as root", program->setting);
}

int cache_make(const struct root_plan *plan, const struct volume *volume, struct failure *why) {
  (void)plan;
  return fail(why, ERROR_SETUID_NEEDED, "perNodeCache at %s: root makes and mounts its file system", volume->to), -1;
}

// Only root's rights lead into a root that was prepared.
bool prepared_join(struct root_plan *plan, const struct words *jobs) {
  (void)plan, (void)jobs;
  return false;
}

// --- Images: the site's, as far as the caller himself can read them, then his own ---

static bool search_site(const struct config *config, const struct image_reference *reference, const char *request, const struct identity *who,
                        struct image *image, struct failure *why) {
  AUTO_FREE char *unsafe = NULL;
  AUTO_FD directory = -1;
  uid_t owner = (uid_t)config->runtime[RUNTIME_IMAGE_OWNER].number;
  const char *path = config->udiroot[UDIROOT_IMAGE_PATH].text;
  enum walk walk = path == NULL ? WALK_MISSING : walk_protected(path, owner, &directory, &unsafe);
  if (walk == WALK_UNSAFE) return fail(why, ERROR_IMAGE_UNSAFE, "%s; runtime.conf says imageOwner=%u", unsafe, owner);
  return image_search(walk == WALK_OK ? directory : -1, owner, reference, request, who, image, why);
}

// Below $XDG_DATA_HOME, where shifterimg puts a person's images. Above it is his own business.
static bool search_own(const struct image_reference *reference, const char *request, const struct identity *who, struct image *image,
                       struct failure *why) {
  const char *data = surroundings("XDG_DATA_HOME"), *home = surroundings("HOME");
  AUTO_BUFFER path = {0};
  if (data != NULL && data[0] == '/') buffer_print(&path, "%s/shifter/images", data);
  else if (home != NULL && home[0] == '/') buffer_print(&path, "%s/.local/share/shifter/images", home);
  AUTO_FD directory = path.at == NULL ? -1 : open(path.at, O_PATH | O_DIRECTORY | O_CLOEXEC);
  struct stat status;
  if (directory >= 0 && (fstat(directory, &status) != 0 || status.st_uid != who->uid || !is_protected(&status, who->uid)))
    return fail(why, ERROR_IMAGE_UNSAFE, "%s is not yours alone to change", path.at);
  return image_search(directory, who->uid, reference, request, who, image, why);
}

bool rights_open_published(const struct config *config, const struct image_reference *reference, const char *request, const struct identity *who,
                           struct image *image, struct failure *why) {
  struct failure first;
  if (search_site(config, reference, request, who, image, &first)) return true;
  bool elsewhere = first.code == ERROR_IMAGE_NOT_FOUND || first.code == ERROR_IMAGE_UNREADABLE;
  image_close(image);
  if (elsewhere && search_own(reference, request, who, image, why)) return true;
  // That there is one which he can't read says more than that there is none.
  if (!elsewhere || (why->code == ERROR_IMAGE_NOT_FOUND && first.code == ERROR_IMAGE_UNREADABLE)) *why = first;
  return false;
}

// --- Mounts ---

static const struct identity root = {0};

bool namespace_enter(const struct root_plan *plan, struct failure *why) {
  // The kernel gives the files that say the mapping to root when a process is not dumpable.
  if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) return mount_failed("prctl", why);
  if (!userns_enter(&root, &plan->who, why)) return false;
  entered = true;
  if (!plan->image.local && !server_prepare(plan, why)) return false;
  return unshare(CLONE_NEWNS) == 0 || mount_failed("unshare", why);
}

// Any directory that is always there: what of it is shown inside was cloned before.
int scratch_place(const struct config *config, struct failure *why) {
  (void)config;
  int place = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (place < 0) mount_failed("/dev", why);
  return place;
}

// By now root's files are shown as nobody's, and there is nothing to protect the caller's rights from.
bool opt_open(const char *setting, const char *path, int *fd, struct failure *why) {
  *fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return *fd >= 0 || fail(why, ERROR_UDIROOT_CONF_INVALID, "%s %s: %s", setting, path, strerror(errno));
}

int layer_mount(const struct root_plan *plan, struct failure *why) {
  (void)plan;
  return server_mount(why);
}

// --- Identity: there is one, the caller's ---

bool become_root(struct failure *why) {
  (void)why;
  return true;
}

bool file_identity_set(const struct identity *who, struct failure *why) {
  (void)who, (void)why;
  return true;
}

void file_identity_root(void) {}

bool drop_ids(const struct identity *who) {
  (void)who;
  return true;
}

// Before anything was mounted there is nothing to give up. After: the inner namespace, and no right in it.
bool drop_privileges(const struct identity *who, struct failure *why) {
  if (!entered) return true;
  struct identity inside = {.uid = who->uid, .gid = who->gid};
  if (!userns_enter(&inside, &root, why)) return false;
  // The other groups still count, but have no number here.
  bool dropped = (groups_take(&inside.groups) || fail(why, ERROR_RESOURCE, "the groups can't be read")) && drop_capabilities(&inside, NULL, why);
  identity_free(&inside);
  return dropped;
}
