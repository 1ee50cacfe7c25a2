#include "disk/reader.h"

#include "disk/candidates.h"
#include "disk/merging.h"
#include "disk/mounting.h"
#include "disk/strip.h"
#include "disk/system.h"
#include "disk/tell.h"
#include "disk/tree.h"
#include "disk/walk.h"
#include "mechanism/open.h"

static int voice = -1;

void reader_voice(int fd) {
  voice = fd;
}

void reader_tell(struct buffer *line) {
  buffer_byte(line, '\n');
  // A launcher that listens no more ends the reader.
  bool ignored = write_all(voice, line->at, line->length);
  (void)ignored;
}

void reader_tell_fault(const struct failure *why) {
  AUTO_BUFFER line = {0};
  buffer_text(&line, "fault");
  tell_word(&line, error_name(why->code));
  tell_rest(&line, why->what);
  reader_tell(&line);
}

static void tell_fact(const char *key, const char *value) {
  AUTO_BUFFER line = {0};
  if (value[0] == '\0') return;
  buffer_text(&line, "fact");
  tell_word(&line, key);
  tell_rest(&line, value);
  reader_tell(&line);
}

static bool tell_system(struct failure *why) {
  static const struct {
    const char *key, *name;
  } facts[] = {{"ID", "os"}, {"VERSION_ID", "version"}, {"PRETTY_NAME", "title"}};
  for (size_t i = 0; i < COUNT_OF(facts); i++) {
    AUTO_BUFFER value = {0};
    tree_system(READER_ROOT, facts[i].key, &value);
    tell_fact(facts[i].name, value.at);
  }
  AUTO_BUFFER text = {0}, path = {0};
  if (tree_read(READER_ROOT, "etc/environment", 65536, true, &text) && assignment_read(text.at, text.length, "PATH", &path)) tell_fact("path", path.at);
  const char *architecture = tree_architecture(READER_ROOT);
  if (architecture == NULL) return fail(why, ERROR_DISK_NO_SYSTEM, "the system has no /bin/sh, nor another program that tells its architecture");
  tell_fact("architecture", architecture);
  return architecture_is_own(architecture) || fail(why, ERROR_PLATFORM_NOT_FOUND, "the system's programs are for %s, not for this machine", architecture);
}

static bool mount_root(struct volumes *volumes, const struct candidate *root, struct failure *why) {
  bool replayed;
  AUTO_BUFFER line = {0}, name = {0};
  if (!volume_mount(volumes, root->volume, root->subvolume, READER_ROOT, &replayed, why)) return false;
  candidate_name(root, &name);
  buffer_text(&line, "root");
  tell_word(&line, name.at);
  tell_word(&line, root->volume->signature.type);
  reader_tell(&line);
  tell_replayed(root->volume);
  return merge_fstab(volumes, root, why);
}

bool reader_mount(struct volumes *volumes, const struct orders *orders, struct failure *why) {
  struct candidate root;
  return volumes_find(volumes, why) && candidate_choose(volumes, orders->partition, &root, why) && mount_root(volumes, &root, why);
}

static void tell_stripped(const uint64_t *counts) {
  for (size_t i = 0; i <= strip_rule_count; i++) {
    AUTO_BUFFER line = {0};
    if (counts[i] == 0) continue;
    buffer_text(&line, "stripped");
    tell_word(&line, i < strip_rule_count ? strip_rules[i].pattern : "special-files");
    buffer_print(&line, " %llu", (unsigned long long)counts[i]);
    reader_tell(&line);
  }
}

bool reader_write(int output, const struct orders *orders, struct failure *why) {
  if (!tell_system(why)) return false;
  AUTO_FREE uint64_t *stripped = memory_get(strip_rule_count + 1, sizeof *stripped);
  struct walk_summary summary = {.stripped = stripped};
  if (!walk_tree(READER_ROOT, output, orders->entries, orders->bytes, &summary, why)) return false;
  tell_stripped(stripped);
  AUTO_BUFFER line = {0};
  buffer_print(&line, "done %llu %llu", (unsigned long long)summary.bytes, (unsigned long long)summary.entries);
  reader_tell(&line);
  return true;
}
