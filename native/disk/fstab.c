#include "disk/fstab.h"

#include <stdlib.h>
#include <string.h>

static const char *const merged[] = {"/usr", "/var", "/opt", "/home"};
// The file systems that a disk can hold a part of the system in; "auto" leaves it to the kernel.
static const char *const types[] = {"ext2", "ext3", "ext4", "xfs", "btrfs", "auto"};

void fstab_free(struct fstab *fstab) {
  for (size_t i = 0; i < fstab->count; i++) {
    free(fstab->items[i].source);
    free(fstab->items[i].value);
    free(fstab->items[i].path);
    free(fstab->items[i].subvolume);
  }
  free(fstab->items);
  *fstab = (struct fstab){0};
}

// A field with its octal escapes: \040 is a blank.
static void unescape(const char *at, size_t length, struct buffer *field) {
  buffer_text(field, "");
  for (size_t i = 0; i < length; i++) {
    if (at[i] == '\\' && i + 3 < length && at[i + 1] >= '0' && at[i + 1] <= '3' && at[i + 2] >= '0' && at[i + 2] <= '7' && at[i + 3] >= '0' && at[i + 3] <= '7') {
      char byte = (char)((at[i + 1] - '0') << 6 | (at[i + 2] - '0') << 3 | (at[i + 3] - '0'));
      if (byte != '\0') buffer_byte(field, byte);
      i += 3;
    } else buffer_byte(field, at[i]);
  }
}

// An absolute path with single slashes; false when it has dots, or is none.
static bool path_read(const char *at, struct buffer *path) {
  if (*at != '/') return false;
  while (*at != '\0') {
    at += strspn(at, "/");
    size_t length = strcspn(at, "/");
    if (length == 0) break;
    if (text_is(at, length, ".") || text_is(at, length, "..")) return false;
    buffer_byte(path, '/');
    buffer_add(path, at, length);
    at += length;
  }
  return path->length > 0;
}

static bool is_merged(const char *path) {
  for (size_t i = 0; i < COUNT_OF(merged); i++) {
    size_t length = strlen(merged[i]);
    if (strncmp(path, merged[i], length) == 0 && (path[length] == '\0' || path[length] == '/')) return true;
  }
  return false;
}

static bool is_type(const char *type) {
  for (size_t i = 0; i < COUNT_OF(types); i++)
    if (strcmp(type, types[i]) == 0) return true;
  return false;
}

// "name" or "name=value" among the options; the value, or "" for none; NULL when it is not there.
static const char *option(const struct words *options, const char *name) {
  size_t length = strlen(name);
  for (size_t i = 0; i < options->count; i++) {
    const char *each = options->items[i];
    if (strncmp(each, name, length) == 0 && (each[length] == '\0' || each[length] == '=')) return each[length] == '=' ? each + length + 1 : "";
  }
  return NULL;
}

// --- what a source names ---------------------------------------------------------------------------------------------------------

static char *copy(const char *text) {
  return memory_copy(text, strlen(text));
}

static bool try_tag(const char *source, struct fstab_entry *entry) {
  static const struct {
    const char *tag, *directory;
    enum fstab_by by;
  } tags[] = {{"UUID=", "/dev/disk/by-uuid/", FSTAB_UUID}, {"LABEL=", "/dev/disk/by-label/", FSTAB_LABEL},
    {"PARTUUID=", "/dev/disk/by-partuuid/", FSTAB_PARTITION_UUID}, {"PARTLABEL=", "/dev/disk/by-partlabel/", FSTAB_PARTITION_LABEL}};
  for (size_t i = 0; i < COUNT_OF(tags); i++) {
    size_t tag = strlen(tags[i].tag), directory = strlen(tags[i].directory);
    const char *value = strncmp(source, tags[i].tag, tag) == 0 ? source + tag : strncmp(source, tags[i].directory, directory) == 0 ? source + directory : NULL;
    if (value == NULL) continue;
    size_t length = strlen(value);
    if (length >= 2 && value[0] == '"' && value[length - 1] == '"') value++, length -= 2;
    entry->by = tags[i].by;
    entry->value = memory_copy(value, length);
    return true;
  }
  return false;
}

// /dev/mapper/VG-LV, where a dash of a name is two.
static bool try_mapper(const char *source, struct fstab_entry *entry) {
  static const char directory[] = "/dev/mapper/";
  if (strncmp(source, directory, sizeof directory - 1) != 0) return false;
  AUTO_BUFFER value = {0};
  bool parted = false;
  for (const char *at = source + sizeof directory - 1; *at != '\0'; at++) {
    if (at[0] == '-' && at[1] == '-') {
      buffer_byte(&value, '-');
      at++;
    } else if (at[0] == '-' && !parted) {
      buffer_byte(&value, '/');
      parted = true;
    } else buffer_byte(&value, *at);
  }
  if (!parted) return false;
  entry->by = FSTAB_VOLUME;
  entry->value = steal(&value.at);
  return true;
}

// A partition of the first disk, as the drivers name it.
static bool try_partition(const char *source, struct fstab_entry *entry) {
  static const char *const disks[] = {"/dev/sda", "/dev/vda", "/dev/xvda", "/dev/hda", "/dev/nvme0n1p", "/dev/mmcblk0p"};
  for (size_t i = 0; i < COUNT_OF(disks); i++) {
    size_t length = strlen(disks[i]);
    uint64_t number;
    if (strncmp(source, disks[i], length) != 0 || !number_parse(source + length, strlen(source + length), 1024, false, &number)) continue;
    entry->by = FSTAB_NUMBER;
    entry->value = copy(source + length);
    return true;
  }
  return false;
}

// /dev/VG/LV
static bool try_volume(const char *source, struct fstab_entry *entry) {
  static const char directory[] = "/dev/";
  size_t above = sizeof directory - 1, length = strlen(source), slashes = 0, slash = 0;
  if (length <= above || memcmp(source, directory, above) != 0) return false;
  for (size_t i = above; i < length; i++)
    if (source[i] == '/') slashes++, slash = i;
  if (slashes != 1 || slash == above || slash + 1 == length) return false;
  entry->by = FSTAB_VOLUME;
  entry->value = memory_copy(source + above, length - above);
  return true;
}

static void name_source(const char *source, struct fstab_entry *entry) {
  entry->by = FSTAB_UNKNOWN;
  entry->source = copy(source);
  if (try_tag(source, entry) || try_mapper(source, entry) || try_partition(source, entry) || try_volume(source, entry)) return;
  entry->value = copy(source);
}

// --- lines -------------------------------------------------------------------------------------------------------------------------

static void read_line(const char *at, size_t length, struct fstab *fstab) {
  struct buffer fields[4] = {{0}};
  size_t count = 0;
  AUTO_BUFFER path = {0};
  AUTO_WORDS options = {0};
  while (length > 0 && count < COUNT_OF(fields)) {
    while (length > 0 && is_blank(*at)) at++, length--;
    size_t word = 0;
    while (word < length && !is_blank(at[word])) word++;
    if (word == 0 || (count == 0 && *at == '#')) break;
    unescape(at, word, &fields[count++]);
    at += word;
    length -= word;
  }
  if (count == 4) words_add_split(&options, fields[3].at, ",");
  bool wanted = count >= 3 && path_read(fields[1].at, &path) && is_merged(path.at) && is_type(fields[2].at) && option(&options, "noauto") == NULL &&
                option(&options, "bind") == NULL && option(&options, "rbind") == NULL && option(&options, "_netdev") == NULL;
  if (wanted) {
    struct fstab_entry entry = {.path = steal(&path.at), .may_fail = option(&options, "nofail") != NULL};
    const char *subvolume = option(&options, "subvol");
    if (subvolume != NULL && subvolume[strspn(subvolume, "/")] != '\0') entry.subvolume = copy(subvolume + strspn(subvolume, "/"));
    name_source(fields[0].at, &entry);
    fstab->items = memory_grow(fstab->items, &fstab->room, fstab->count + 1, sizeof entry);
    fstab->items[fstab->count++] = entry;
  }
  for (size_t i = 0; i < COUNT_OF(fields); i++) buffer_free(&fields[i]);
}

static int by_path(const void *one, const void *other) {
  return strcmp(((const struct fstab_entry *)one)->path, ((const struct fstab_entry *)other)->path);
}

void fstab_read(const char *text, size_t length, struct fstab *fstab) {
  for (struct part line = parts_of(text, length); part_next(&line, '\n');) read_line(line.at, line.length, fstab);
  // What lies above comes first: "/var" is before "/var/log" by bytes, too.
  if (fstab->count > 0) qsort(fstab->items, fstab->count, sizeof *fstab->items, by_path);
}
