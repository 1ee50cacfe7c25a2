// What a guest that a hostile disk took over could tell the launcher; and the guest's own parsers, which are to say what is wrong and not fall over.
//
// Input: a byte that chooses, then what is parsed.
#include "disk/fstab.h"
#include "disk/relay.h"
#include "disk/system.h"
#include "disk/volume_group.h"
#include "disk/volumes.h"
#include "fuzz/fuzzing.h"

struct bytes {
  const uint8_t *at;
  size_t length;
};

// Behind the input's bytes the disk is zeros.
static bool read_bytes(void *from, uint64_t offset, void *into, size_t length) {
  const struct bytes *bytes = from;
  memset(into, 0, length);
  if (offset < bytes->length) memcpy(into, bytes->at + offset, length < bytes->length - offset ? length : (size_t)(bytes->length - offset));
  return true;
}

static void relay(const uint8_t *data, size_t size) {
  struct relay relay = {.most = LARGEST_SIZE};
  struct failure why = {0};
  AUTO_BUFFER out = {0};
  for (size_t at = 0; at < size; at += 7)
    if (!relay_voice(&relay, (const char *)data + at, size - at < 7 ? size - at : 7, &out, &why)) break;
  for (size_t i = 0; i < out.length; i++) must(out.at[i] == '\n' || !is_control(out.at[i]));
  if (relay.last.kind == TOLD_DONE) must(relay.last.bytes <= LARGEST_SIZE);
  relay_log(&relay, (const char *)data, size);
  must(!relay_died(&relay, &why) && why.what[0] != '\0');
  relay_free(&relay);
}

static void tables(const uint8_t *data, size_t size) {
  struct bytes bytes = {data, size};
  const struct disk_input input = {read_bytes, &bytes, UINT64_C(1) << 30};
  CLEANUP(volumes_free) struct volumes volumes = {.disk = input};
  struct failure why = {0};
  if (!volumes_find(&volumes, &why)) must(why.what[0] != '\0');
  // No piece lies outside of the disk, and every volume is whole.
  for (size_t i = 0; i < volumes.count; i++) {
    const struct map *map = &volumes.items[i].map;
    uint64_t length = map_size(map);
    must(length <= input.size);
    for (uint64_t offset = 0, runs = 0; offset < length && runs < 1000; runs++) {
      struct map_run run = map_find(map, offset);
      must(run.length > 0 && run.length <= length - offset && run.place <= input.size && run.length <= input.size - run.place);
      offset += run.length;
    }
    must(map_find(map, length).length == 0);
  }
}

static void texts(const uint8_t *data, size_t size, unsigned which) {
  AUTO_FREE char *text = memory_copy((const char *)data, size);
  struct failure why = {0};
  struct lvm_group group = {0};
  struct fstab fstab = {0};
  AUTO_BUFFER value = {0};
  if (which == 2) {
    if (!lvm_group_read(text, size, &group, &why)) must(why.what[0] != '\0');
    lvm_group_free(&group);
  } else {
    fstab_read(text, size, &fstab);
    for (size_t i = 0; i < fstab.count; i++) must(fstab.items[i].path[0] == '/' && strstr(fstab.items[i].path, "//") == NULL);
    fstab_free(&fstab);
    if (assignment_read(text, size, "PATH", &value)) must(value.at != NULL);
    elf_architecture(data, size);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0) return 0;
  switch (data[0] & 3) {
    case 0: relay(data + 1, size - 1); break;
    case 1: tables(data + 1, size - 1); break;
    default: texts(data + 1, size - 1, data[0] & 3U); break;
  }
  return 0;
}
