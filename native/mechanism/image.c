#include "mechanism/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "limits.gen.h"
#include "mechanism/identity.h"
#include "mechanism/open.h"
#include "mechanism/rights.h"
#include "policy/sha256.h"
#include "policy/superblock.h"

struct search {
  const char *request;
  const struct identity *who;
  uid_t owner;
  bool by_name;
  bool odd_id; // an id that is not 64 hexadecimal digits
  int directory;
};

// "Missing" and "not for this user" are told in the same words, so that nobody learns of another's images.
static bool not_found(const struct search *search, struct failure *why) {
  // Sites have ids of other forms by the reference system, so such an id is looked for like any other.
  const char *hint = search->odd_id ? " (an id has 64 hexadecimal digits)" : "";
  return fail(why, ERROR_IMAGE_NOT_FOUND, "there is no image '%s' for you%s", search->request, hint);
}

static bool file_gone(const struct search *search, struct failure *why) {
  if (!search->by_name) return not_found(search, why);
  return fail(why, ERROR_IMAGE_EXPIRED, "the image of '%s' is gone", search->request);
}

// Words everything but WALK_OK and WALK_MISSING. Neither image ids nor paths are told: the caller gave only the request.
static bool refuse(const struct search *search, const char *what, struct failure *why) {
  if (errno == EFBIG) return fail(why, ERROR_RECORD_INVALID, "the %s of '%s' is too large", what, search->request);
  if (errno == EACCES && without_setuid) return fail(why, ERROR_IMAGE_UNREADABLE, "the %s of '%s' can't be read by you", what, search->request);
  return fail(why, ERROR_IMAGE_UNSAFE, "the %s of '%s' is not a regular file that uid %u alone can change (imageOwner in runtime.conf)", what,
              search->request, search->owner);
}

static enum walk open_directory(const struct search *search, int directory, const char *name, int *fd) {
  AUTO_FD opened = openat(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct stat status;
  if (opened < 0) return errno == ENOENT ? WALK_MISSING : WALK_UNSAFE;
  if (fstat(opened, &status) != 0 || !is_protected(&status, search->owner)) return WALK_UNSAFE;
  *fd = steal_fd(&opened);
  return WALK_OK;
}

static bool read_name(const struct search *search, const char *canonical, char **id, struct failure *why) {
  char hash[SHA256_HEX];
  sha256_hex(canonical, strlen(canonical), hash);
  const char first[3] = {hash[0], hash[1], '\0'};
  AUTO_FD names = -1, part = -1;
  AUTO_BUFFER content = {0};
  errno = 0;
  enum walk walk = open_directory(search, search->directory, "names", &names);
  if (walk == WALK_OK) walk = open_directory(search, names, first, &part);
  if (walk == WALK_OK) walk = open_protected_file(part, hash, search->owner, LIMIT_NAME_BYTES, &content, NULL);
  if (walk == WALK_MISSING) return not_found(search, why);
  if (walk != WALK_OK) return refuse(search, "name", why);

  AUTO_NAME name = {0};
  struct failure detail;
  if (!name_parse(content.at, content.length, &name, &detail)) return fail(why, detail.code, "the name '%s'", search->request);
  if (strcmp(name.reference, canonical) != 0) return fail(why, ERROR_RECORD_INVALID, "the name '%s' is another's", search->request);
  *id = steal(&name.id);
  return true;
}

// One of the two files that describe an image; after it the caller is known to be allowed.
static enum walk read_source(const struct search *search, bool is_meta, struct image *image, struct failure *why) {
  AUTO_BUFFER file = {0}, content = {0};
  struct failure detail;
  buffer_print(&file, "%s.%s", image->id, is_meta ? "meta" : "record");
  errno = 0;
  enum walk walk = open_protected_file(search->directory, file.at, search->owner, is_meta ? LIMIT_META_BYTES : LIMIT_RECORD_BYTES, &content, NULL);
  if (walk == WALK_MISSING) return walk;
  if (walk != WALK_OK) return refuse(search, is_meta ? ".meta" : "record", why), WALK_FAILED;
  image->is_meta = is_meta;
  image->source = content;
  content = (struct buffer){0};
  enum facts taken = facts_take(is_meta, &image->source, image->id, search->who, &image->facts, &detail);
  if (taken == FACTS_DENIED) not_found(search, why);
  if (taken == FACTS_INVALID) fail(why, detail.code, "the %s of '%s'", is_meta ? ".meta" : "record", search->request);
  return taken == FACTS_TAKEN ? WALK_OK : WALK_FAILED;
}

// The record, or .meta where there is no record.
static bool read_facts(const struct search *search, struct image *image, struct failure *why) {
  enum walk walk = read_source(search, false, image, why);
  if (walk == WALK_MISSING) walk = read_source(search, true, image, why);
  if (walk == WALK_MISSING) return file_gone(search, why);
  return walk == WALK_OK;
}

static bool check_file(const struct search *search, const struct image *image, struct failure *why) {
  unsigned char block[SUPERBLOCK_BYTES];
  uint64_t size = (uint64_t)image->file.status.st_size; // of a regular file, never negative
  if (image->facts.sized && size != image->facts.image_size)
    return fail(why, ERROR_IMAGE_CORRUPT, "the file of '%s' has %llu bytes, its record says %llu", search->request, (unsigned long long)size,
                (unsigned long long)image->facts.image_size);
  if (pread(image->file.fd, block, sizeof block, 0) != (ssize_t)sizeof block)
    return fail(why, ERROR_IMAGE_CORRUPT, "the file of '%s' is too short", search->request);
  return superblock_check(block, size, why);
}

static bool open_file(const struct search *search, const char *id, struct image *image, struct failure *why) {
  AUTO_BUFFER file = {0};
  buffer_print(&file, "%s.squashfs", id);
  errno = 0;
  enum walk walk = open_protected_file(search->directory, file.at, search->owner, 0, NULL, &image->file);
  if (walk == WALK_MISSING) return file_gone(search, why);
  if (walk != WALK_OK) return refuse(search, "file", why);
  return check_file(search, image, why);
}

bool image_search(int directory, uid_t owner, const struct image_reference *reference, const char *request, const struct identity *who,
                  struct image *image, struct failure *why) {
  bool by_name = reference->type != IMAGE_ID;
  const struct search search = {.request = request, .who = who, .owner = owner, .by_name = by_name, .directory = directory,
                                .odd_id = !by_name && !hash_is_valid(reference->reference, strlen(reference->reference))};
  if (directory < 0) return not_found(&search, why);
  if (by_name && !read_name(&search, reference->canonical, &image->id, why)) return false;
  if (!by_name) image->id = memory_copy(reference->reference, strlen(reference->reference));
  return read_facts(&search, image, why) && open_file(&search, image->id, image, why);
}

// A directory of the host is reached with the caller's rights alone, and is never given to the kernel as a file system or layer.
static bool open_local(const struct config *config, const char *path, const struct search *search, struct image *image, struct failure *why) {
  if (config->udiroot[UDIROOT_ALLOW_LOCAL_CHROOT].number == 0) return fail(why, ERROR_LOCAL_NOT_ALLOWED, "'%s' is a directory of the host, and this site runs images only", search->request);
  if (!file_identity_set(search->who, why)) return false;
  AUTO_FD found = open_resolved(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS);
  // Once more through the directory itself: the caller must be able to enter it, not only to see it.
  image->file.fd = found < 0 ? -1 : open_resolved(found, ".", O_PATH | O_DIRECTORY, 0, RESOLVE_BENEATH);
  file_identity_root();
  if (image->file.fd < 0) return not_found(search, why);
  image->local = true;
  image->id = memory_copy(path, strlen(path));
  return true;
}

bool image_open(const struct config *config, const struct image_reference *reference, const char *request, const struct identity *who,
                struct image *image, struct failure *why) {
  struct search search = {.request = request, .who = who, .directory = -1};
  *image = (struct image){.file.fd = -1};
  if (reference->canonical == NULL)
    return fail(why, ERROR_IMAGE_TYPE_NOT_RUNNABLE, "'%s' is a path that is not absolute, which names no published image", request);
  bool opened = reference->type == IMAGE_LOCAL ? open_local(config, reference->canonical + strlen("local:"), &search, image, why)
                                               : rights_open_published(config, reference, request, who, image, why);
  if (!opened) image_close(image);
  return opened;
}

void image_close(struct image *image) {
  cleanup_fd(&image->file.fd);
  free(image->id);
  facts_free(&image->facts);
  buffer_free(&image->source);
  *image = (struct image){.file.fd = -1};
}
