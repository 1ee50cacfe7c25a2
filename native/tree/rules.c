#include "tree/rules.h"

#include <fnmatch.h>
#include <string.h>

#include "merge/path.h"

struct rule {
  const char *pattern;
  enum tree_fate fate;
  enum tree_note note;
};

// What lies below a name of these is left out with it.
static const struct rule rules[] = {
  {"dev", TREE_EMPTY, NOTE_PSEUDO},
  {"proc", TREE_EMPTY, NOTE_PSEUDO},
  {"sys", TREE_EMPTY, NOTE_PSEUDO},
  {"tmp", TREE_EMPTY, NOTE_PSEUDO},
  {"run", TREE_EMPTY, NOTE_PSEUDO},
  {"mnt", TREE_EMPTY, NOTE_PSEUDO},
  {"media", TREE_EMPTY, NOTE_PSEUDO},
  {"var/tmp", TREE_EMPTY, NOTE_PSEUDO},
  {"lib/modules", TREE_EMPTY, NOTE_PSEUDO},
  {"usr/lib/modules", TREE_EMPTY, NOTE_PSEUDO},
  {"boot", TREE_DROP, NOTE_PSEUDO},
  {"local", TREE_DROP, NOTE_PSEUDO},
  {"chos", TREE_DROP, NOTE_PSEUDO},
  {"afs", TREE_DROP, NOTE_PSEUDO},
  {"etc/fstab", TREE_DROP, NOTE_PSEUDO},
  {"etc/mtab", TREE_DROP, NOTE_PSEUDO},
  // Records of logins: another machine's users, and as large as the highest uid.
  {"var/log/lastlog", TREE_DROP, NOTE_PSEUDO},
  {"var/log/faillog", TREE_DROP, NOTE_PSEUDO},
  {"var/log/tallylog", TREE_DROP, NOTE_PSEUDO},
  {"var/log/[bw]tmp", TREE_DROP, NOTE_PSEUDO},
  {"var/log/[bw]tmp[-.]*", TREE_DROP, NOTE_PSEUDO},
  {"etc/shadow", TREE_DROP, NOTE_SECRET},
  {"etc/shadow[-.~]*", TREE_DROP, NOTE_SECRET},
  {"etc/gshadow", TREE_DROP, NOTE_SECRET},
  {"etc/gshadow[-.~]*", TREE_DROP, NOTE_SECRET},
  {"etc/security/opasswd*", TREE_DROP, NOTE_SECRET},
  {"etc/ssh/*_key", TREE_DROP, NOTE_SECRET},
  {"etc/ssl/private", TREE_EMPTY, NOTE_SECRET},
  {"etc/pki/tls/private", TREE_EMPTY, NOTE_SECRET},
  {"etc/krb5.keytab", TREE_DROP, NOTE_SECRET},
  {"etc/munge", TREE_EMPTY, NOTE_SECRET},
  {"root/.ssh", TREE_DROP, NOTE_SECRET},
  {"root/.*_history", TREE_DROP, NOTE_SECRET},
};

static const char *const note_names[NOTE_COUNT] = {"none", "pseudo", "secret", "site-link", "site-directory", "rewritten", "loop", "dangling", "reserved", "special",
  "linked", "private", "unreadable", "mount", "vanished", "changed"};

const char *tree_note_name(enum tree_note note) {
  return note_names[note];
}

void tree_ruling_free(struct tree_ruling *ruling) {
  buffer_free(&ruling->link);
}

static const struct rule *rule_of(const char *path) {
  for (size_t i = 0; i < COUNT_OF(rules); i++)
    if (rules[i].pattern[0] == path[0] && fnmatch(rules[i].pattern, path, FNM_PATHNAME | FNM_NOESCAPE) == 0) return &rules[i];
  return NULL;
}

// The rule of a directory that a name lies below.
static const struct rule *rule_above(const char *path) {
  AUTO_FREE char *above = memory_copy(path, strlen(path));
  for (char *slash = strchr(above, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    const struct rule *rule = rule_of(above);
    if (rule != NULL) return rule;
    *slash = '/';
  }
  return NULL;
}

static bool is_reserved(const char *path) {
  const char *slash = strrchr(path, '/');
  return strncmp(slash == NULL ? path : slash + 1, WHITEOUT_PREFIX, WHITEOUT_PREFIX_LENGTH) == 0;
}

// --- links -----------------------------------------------------------------------------------------------------------------------

static void add_parts(struct path *to, const char *text) {
  for (struct part part = parts_of(text, strlen(text)); part_next(&part, '/');) {
    if (part.length == 0 || text_is(part.at, part.length, ".")) continue;
    if (!text_is(part.at, part.length, "..")) path_add(to, part.at, part.length);
    else if (to->count > 0) path_cut(to, to->count - 1);
  }
}

// Where a link leads from the tree's root, by its text alone.
static void lead(struct path *to, const char *path, const char *target) {
  path_cut(to, 0);
  if (target[0] != '/') {
    add_parts(to, path);
    if (to->count > 0) path_cut(to, to->count - 1);
  }
  add_parts(to, target);
}

static bool begins(const struct path *path, const char *const *words, size_t count) {
  if (path->count < count) return false;
  for (size_t i = 0; i < count; i++) {
    size_t length;
    const char *at = path_component(path, i, &length);
    if (!text_is(at, length, words[i])) return false;
  }
  return true;
}

static void cut_front(struct path *path, size_t count) {
  AUTO_FREE char *rest = count < path->count ? memory_copy(path->text.at + path->ends[count - 1] + 1, path->text.length - path->ends[count - 1] - 1) : NULL;
  path_cut(path, 0);
  if (rest != NULL) path_set(path, rest, strlen(rest));
}

// Without CHOS its own way to a name is the name.
static bool leave_chos(struct path *to) {
  static const char *const by_link[] = {"proc", "chos", "link"}, *const by_root[] = {"chos"};
  for (bool left = false;; left = true) {
    if (begins(to, by_link, COUNT_OF(by_link))) cut_front(to, COUNT_OF(by_link));
    else if (begins(to, by_root, COUNT_OF(by_root))) cut_front(to, COUNT_OF(by_root));
    else return left;
  }
}

static bool below(const char *path, const char *directory) {
  size_t length = strlen(directory);
  return strncmp(path, directory, length) == 0 && path[length] == '/';
}

static void rule_link(const char *path, const char *target, struct tree_ruling *ruling) {
  static const char *const local[] = {"local"};
  CLEANUP(path_free) struct path to = {0};
  lead(&to, path, target);
  bool changed = leave_chos(&to);
  if (begins(&to, local, COUNT_OF(local))) {
    const struct rule *rule = rule_of(path);
    if (below(path, "etc")) {
      *ruling = (struct tree_ruling){.fate = TREE_DROP, .note = NOTE_SITE_LINK};
      return;
    }
    bool is_root = strcmp(path, "etc") == 0 || strcmp(path, "var") == 0; // the runtime puts files there
    if (is_root || below(path, "var") || (rule != NULL && rule->fate == TREE_EMPTY)) {
      bool shared = strcmp(path, "tmp") == 0 || strcmp(path, "var/tmp") == 0;
      *ruling = (struct tree_ruling){.fate = TREE_DIRECTORY, .note = NOTE_SITE_DIRECTORY, .mode = shared ? 01777 : 0755};
      return;
    }
  }
  if (!changed) return;
  if (strcmp(to.text.at == NULL ? "" : to.text.at, path) == 0) {
    *ruling = (struct tree_ruling){.fate = TREE_DROP, .note = NOTE_LOOP};
    return;
  }
  *ruling = (struct tree_ruling){.fate = TREE_LINK, .note = NOTE_REWRITTEN};
  buffer_byte(&ruling->link, '/');
  buffer_add(&ruling->link, to.text.at, to.text.length);
}

void tree_rule(const char *path, const char *target, struct tree_ruling *ruling) {
  *ruling = (struct tree_ruling){.fate = TREE_KEEP};
  if (path[0] == '\0') return;
  const struct rule *rule = rule_above(path);
  if (rule != NULL) {
    *ruling = (struct tree_ruling){.fate = TREE_DROP, .note = rule->note};
    return;
  }
  rule = rule_of(path);
  // What is a link in place of a directory is a link like any.
  if (rule != NULL && (rule->fate == TREE_DROP || target == NULL)) {
    *ruling = (struct tree_ruling){.fate = rule->fate, .note = rule->note};
    return;
  }
  if (is_reserved(path)) {
    *ruling = (struct tree_ruling){.fate = TREE_DROP, .note = NOTE_RESERVED};
    return;
  }
  if (target != NULL) rule_link(path, target, ruling);
}
