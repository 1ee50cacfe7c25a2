#include "disk/volume_group.h"

#include <stdio.h>
#include <stdlib.h>

#include "disk/metadata.h"

#define SECTOR 512
#define TEXT_MOST ((uint64_t)16 << 20)
#define CHECKSUM_START UINT32_C(0xf597a6cf)
#define MOST_PIECES 4096

// --- the header --------------------------------------------------------------------------------------------------------------------

// The text is in a ring of the area behind the area's own header.
static char *ring_read(const struct disk_input *volume, uint64_t area, uint64_t area_size, uint64_t offset, uint64_t length) {
  char *text = memory_get((size_t)length + 1, 1);
  uint64_t first = length < area_size - offset ? length : area_size - offset;
  if (disk_read(volume, area + offset, text, (size_t)first) &&
      (first == length || disk_read(volume, area + SECTOR, text + first, (size_t)(length - first))))
    return text;
  free(text);
  return NULL;
}

static bool area_read(const struct disk_input *volume, uint64_t area, uint64_t size, struct lvm_header *header) {
  unsigned char at[SECTOR];
  if (!disk_read(volume, area, at, sizeof at) || memcmp(at + 4, " LVM2 x[5A%r0N*>", 16) != 0) return false;
  if (crc32_add(CHECKSUM_START, at + 4, sizeof at - 4) != little32(at) || little64(at + 32) > size) return false;
  uint64_t area_size = little64(at + 32), offset = little64(at + 40), length = little64(at + 48);
  if (length == 0 || length > TEXT_MOST || area_size <= SECTOR || offset < SECTOR || offset >= area_size || length > area_size - SECTOR) return false;
  char *text = ring_read(volume, area, area_size, offset, length);
  if (text == NULL || crc32_add(CHECKSUM_START, text, (size_t)length) != little32(at + 56)) {
    free(text);
    return false;
  }
  header->text = text;
  header->length = (size_t)length;
  return true;
}

// Two lists of places, each ended by zeros: of the data, then of the metadata.
static enum lvm_result areas_read(const struct disk_input *volume, const unsigned char *sector, size_t at, struct lvm_header *header, struct failure *why) {
  bool metadata = false, any = false;
  for (; at + 16 <= SECTOR; at += 16) {
    uint64_t offset = little64(sector + at), size = little64(sector + at + 8);
    if (offset == 0) {
      if (metadata) break;
      metadata = true;
      continue;
    }
    if (!metadata) continue;
    any = true;
    if (area_read(volume, offset, size, header)) return LVM_READ;
  }
  if (!any) return LVM_READ;
  fail(why, ERROR_DISK_INVALID, "the metadata of its LVM is damaged");
  return LVM_WRONG;
}

enum lvm_result lvm_header_read(const struct disk_input *volume, struct lvm_header *header, struct failure *why) {
  *header = (struct lvm_header){.text = NULL};
  for (uint64_t number = 0; number < 4; number++) {
    unsigned char sector[SECTOR];
    if (!disk_read(volume, number * SECTOR, sector, sizeof sector) || memcmp(sector, "LABELONE", 8) != 0 || memcmp(sector + 24, "LVM2 001", 8) != 0) continue;
    size_t at = little32(sector + 20);
    if (crc32_add(CHECKSUM_START, sector + 20, SECTOR - 20) != little32(sector + 16) || at < 32 || at > SECTOR - 40) {
      fail(why, ERROR_DISK_INVALID, "the label of its LVM is damaged");
      return LVM_WRONG;
    }
    memcpy(header->uuid, sector + at, LVM_UUID - 1);
    return areas_read(volume, sector, at + 40, header, why);
  }
  return LVM_NONE;
}

// --- the group ---------------------------------------------------------------------------------------------------------------------

struct layout {
  const struct node *group, *physical;
  uint64_t extent; // sectors
  struct failure *why;
};

static bool wrong(const struct layout *layout, const char *what) {
  return fail(layout->why, ERROR_DISK_INVALID, "the metadata of its LVM has no right %s", what);
}

// Six groups of letters with dashes in the text, none on the disk.
static void bare_uuid(const char *text, char uuid[static LVM_UUID]) {
  size_t length = 0;
  for (; *text != '\0' && length < LVM_UUID - 1; text++)
    if (*text != '-') uuid[length++] = *text;
  uuid[length] = '\0';
}

static bool stripe_read(const struct layout *layout, const struct node *name, const struct node *extent, struct lvm_stripe *stripe) {
  if (name->kind != NODE_TEXT || extent->kind != NODE_NUMBER) return wrong(layout, "stripes");
  for (size_t i = 0; i < layout->physical->count; i++) {
    const struct node *physical = &layout->physical->items[i];
    uint64_t start;
    if (strcmp(physical->name, name->text) != 0) continue;
    if (!node_number(physical, "pe_start", &start) || start > UINT32_MAX || extent->number > UINT32_MAX) return wrong(layout, "pe_start");
    *stripe = (struct lvm_stripe){i, start + extent->number * layout->extent};
    return true;
  }
  return wrong(layout, "stripes");
}

static bool segment_read(const struct layout *layout, const struct node *node, struct lvm_segment *segment, char **unread) {
  uint64_t start, count, stripes = 0, size = 0;
  const char *type = node_text(node, "type");
  if (type == NULL || !node_number(node, "start_extent", &start) || !node_number(node, "extent_count", &count) || start > UINT32_MAX || count > UINT32_MAX)
    return wrong(layout, "segments");
  if (strcmp(type, "striped") != 0 && strcmp(type, "linear") != 0) {
    if (*unread == NULL) *unread = memory_copy(type, strlen(type));
    return true;
  }
  const struct node *list = node_find(node, "stripes", NODE_LIST);
  if (!node_number(node, "stripe_count", &stripes) || list == NULL || stripes == 0 || stripes > MOST_PIECES || list->count != stripes * 2 || count % stripes != 0)
    return wrong(layout, "stripes");
  if (stripes > 1 && (!node_number(node, "stripe_size", &size) || size == 0 || size > UINT32_MAX)) return wrong(layout, "stripe_size");
  *segment = (struct lvm_segment){.start = start * layout->extent, .length = count * layout->extent, .stripe_size = size,
    .stripes = memory_get((size_t)stripes, sizeof *segment->stripes), .stripe_count = (size_t)stripes};
  for (size_t i = 0; i < stripes; i++)
    if (!stripe_read(layout, &list->items[i * 2], &list->items[i * 2 + 1], &segment->stripes[i])) return false;
  return true;
}

static bool is_visible(const struct node *volume) {
  const struct node *status = node_find(volume, "status", NODE_LIST);
  for (size_t i = 0; status != NULL && i < status->count; i++)
    if (status->items[i].kind == NODE_TEXT && strcmp(status->items[i].text, "VISIBLE") == 0) return true;
  return false;
}

static bool volume_read(const struct layout *layout, const struct node *node, struct lvm_volume *volume) {
  uint64_t count, end = 0;
  volume->name = memory_copy(node->name, strlen(node->name));
  if (!node_number(node, "segment_count", &count) || count == 0 || count > MOST_PIECES) return wrong(layout, "segment_count");
  volume->segments = memory_get((size_t)count, sizeof *volume->segments);
  for (size_t i = 0; i < count; i++) {
    char name[32];
    snprintf(name, sizeof name, "segment%zu", i + 1);
    const struct node *each = node_find(node, name, NODE_SECTION);
    if (each == NULL) return wrong(layout, "segments");
    volume->segment_count = i + 1;
    if (!segment_read(layout, each, &volume->segments[i], &volume->type)) return false;
    if (volume->type != NULL) return true;
    if (volume->segments[i].start != end) return wrong(layout, "segments");
    end += volume->segments[i].length;
  }
  return true;
}

static bool group_read(const struct node *root, struct lvm_group *group, struct failure *why) {
  struct layout layout = {.why = why};
  for (size_t i = 0; i < root->count && layout.group == NULL; i++)
    if (root->items[i].kind == NODE_SECTION) layout.group = &root->items[i];
  if (layout.group == NULL || !node_number(layout.group, "extent_size", &layout.extent) || layout.extent == 0 || layout.extent > UINT32_MAX)
    return wrong(&layout, "extent_size");
  layout.physical = node_find(layout.group, "physical_volumes", NODE_SECTION);
  if (layout.physical == NULL || !node_number(layout.group, "seqno", &group->sequence)) return wrong(&layout, "physical_volumes");
  group->name = memory_copy(layout.group->name, strlen(layout.group->name));
  group->physical_count = layout.physical->count;
  group->physical = memory_get(layout.physical->count + 1, sizeof *group->physical);
  for (size_t i = 0; i < layout.physical->count; i++) {
    const char *id = node_text(&layout.physical->items[i], "id");
    if (id == NULL) return wrong(&layout, "id");
    bare_uuid(id, group->physical[i]);
  }
  const struct node *volumes = node_find(layout.group, "logical_volumes", NODE_SECTION);
  if (volumes == NULL) return true;
  group->volumes = memory_get(volumes->count + 1, sizeof *group->volumes);
  for (size_t i = 0; i < volumes->count; i++) {
    if (volumes->items[i].kind != NODE_SECTION || !is_visible(&volumes->items[i])) continue;
    if (!volume_read(&layout, &volumes->items[i], &group->volumes[group->volume_count++])) return false;
  }
  return true;
}

bool lvm_group_read(const char *text, size_t length, struct lvm_group *group, struct failure *why) {
  CLEANUP(node_free) struct node root = {0};
  *group = (struct lvm_group){.name = NULL};
  return metadata_read(text, length, &root, why) && group_read(&root, group, why);
}

void lvm_group_free(struct lvm_group *group) {
  for (size_t i = 0; i < group->volume_count; i++) {
    struct lvm_volume *volume = &group->volumes[i];
    for (size_t k = 0; k < volume->segment_count; k++) free(volume->segments[k].stripes);
    free(volume->segments);
    free(volume->name);
    free(volume->type);
  }
  free(group->volumes);
  free(group->physical);
  free(group->name);
  *group = (struct lvm_group){.name = NULL};
}
