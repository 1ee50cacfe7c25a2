#include "disk/partitions.h"

#include <stdio.h>
#include <stdlib.h>

#include "disk/signature.h"

#define MOST_PARTITIONS 1024
#define MOST_LOGICAL 128
#define ENTRY_MOST 4096

static struct partition *add(struct partition_table *table, unsigned number, uint64_t offset, uint64_t size) {
  table->items = memory_grow(table->items, &table->room, table->count + 1, sizeof *table->items);
  struct partition *partition = &table->items[table->count++];
  *partition = (struct partition){.number = number, .offset = offset, .size = size};
  return partition;
}

void partitions_free(struct partition_table *table) {
  free(table->items);
  *table = (struct partition_table){0};
}

static bool reaches_past(const struct disk_input *disk, unsigned number, uint64_t offset, uint64_t size, struct failure *why) {
  if (offset <= disk->size && size <= disk->size - offset) return false;
  fail(why, ERROR_DISK_INVALID, "partition %u ends at byte %llu, but the disk has %llu: it was cut off", number, (unsigned long long)(offset + size),
    (unsigned long long)disk->size);
  return true;
}

// --- MBR -----------------------------------------------------------------------------------------------------------------------

#define MBR_ENTRIES 446
#define TYPE_PROTECTIVE 0xee

struct mbr_entry {
  unsigned char type;
  uint32_t start, sectors;
};

static bool is_extended(unsigned char type) {
  return type == 0x05 || type == 0x0f || type == 0x85;
}

static struct mbr_entry mbr_entry(const unsigned char *sector, size_t index) {
  const unsigned char *at = sector + MBR_ENTRIES + index * 16;
  return (struct mbr_entry){at[4], little32(at + 8), little32(at + 12)};
}

static bool has_mark(const unsigned char *sector) {
  return sector[510] == 0x55 && sector[511] == 0xaa;
}

// A table, and not the end of a boot sector: each entry is empty, or has a status byte that exists and a place behind the table.
static bool is_mbr(const unsigned char *sector) {
  bool any = false;
  if (!has_mark(sector)) return false;
  for (size_t i = 0; i < 4; i++) {
    struct mbr_entry entry = mbr_entry(sector, i);
    unsigned char status = sector[MBR_ENTRIES + i * 16];
    if (entry.type == 0 && entry.sectors == 0) continue;
    if ((status != 0 && status != 0x80) || entry.type == 0 || entry.start == 0 || entry.sectors == 0) return false;
    any = true;
  }
  return any;
}

static bool is_protective(const unsigned char *sector) {
  for (size_t i = 0; i < 4; i++)
    if (mbr_entry(sector, i).type == TYPE_PROTECTIVE) return true;
  return false;
}

static bool add_mbr(const struct disk_input *disk, struct partition_table *table, unsigned number, uint64_t start, uint64_t sectors, uint32_t signature,
  struct failure *why) {
  uint64_t offset = start * table->sector, size = sectors * table->sector;
  if (reaches_past(disk, number, offset, size, why)) return false;
  struct partition *partition = add(table, number, offset, size);
  snprintf(partition->uuid, sizeof partition->uuid, "%08x-%02x", (unsigned)signature, number);
  return true;
}

static bool is_among(uint64_t at, const uint64_t *tables, unsigned count) {
  for (unsigned i = 0; i < count; i++)
    if (tables[i] == at) return true;
  return false;
}

// Each table of the chain has a logical partition, placed from itself, and the next table, placed from the extended partition. The next one may lie
// before it: whoever deletes a partition and makes a smaller one in its place has that.
static bool read_logical(const struct disk_input *disk, struct partition_table *table, uint32_t extended, unsigned *number, uint32_t signature,
  struct failure *why) {
  uint64_t at = extended, tables[MOST_LOGICAL];
  for (unsigned i = 0; i < MOST_LOGICAL; i++) {
    unsigned char sector[512];
    tables[i] = at;
    if (!disk_read(disk, at * table->sector, sector, sizeof sector) || !has_mark(sector))
      return fail(why, ERROR_DISK_INVALID, "the table of logical partition %u is no table", *number);
    uint64_t next = 0;
    for (size_t k = 0; k < 4; k++) {
      struct mbr_entry entry = mbr_entry(sector, k);
      if (entry.type == 0 || entry.sectors == 0) continue;
      if (is_extended(entry.type)) next = (uint64_t)extended + entry.start;
      else if (!add_mbr(disk, table, (*number)++, at + entry.start, entry.sectors, signature, why)) return false;
    }
    if (next == 0) return true;
    if (is_among(next, tables, i + 1)) return fail(why, ERROR_DISK_INVALID, "the tables of its logical partitions lead back to each other");
    at = next;
  }
  return fail(why, ERROR_DISK_INVALID, "it has more than %d logical partitions", MOST_LOGICAL);
}

struct place {
  const struct disk_input *disk;
  uint64_t offset;
};

static bool read_place(void *from, uint64_t offset, void *into, size_t length) {
  const struct place *place = from;
  return disk_read(place->disk, place->offset + offset, into, length);
}

// Whether a table of logical partitions, or contents that are known, begin where sectors of that size put the entry.
static bool is_seen(const struct disk_input *disk, struct mbr_entry entry, unsigned sector) {
  struct place place = {disk, (uint64_t)entry.start * sector};
  const struct disk_input input = {read_place, &place, (uint64_t)entry.sectors * sector};
  unsigned char table[512];
  struct signature signature;
  if (is_extended(entry.type)) return disk_read(&input, 0, table, sizeof table) && has_mark(table);
  signature_read(&input, &signature);
  return signature.contents != CONTENTS_UNKNOWN;
}

// An MBR does not say how large its sectors are. They have 512 bytes, unless nothing of it is seen so, something is with 4096, and the disk has room
// for all of it then: a disk whose partitions can be read is read the same way as ever.
static unsigned mbr_sector(const struct disk_input *disk, const unsigned char *sector) {
  bool seen = false;
  for (size_t i = 0; i < 4; i++) {
    struct mbr_entry entry = mbr_entry(sector, i);
    if (entry.sectors == 0) continue;
    if (((uint64_t)entry.start + entry.sectors) * 4096 > disk->size || is_seen(disk, entry, 512)) return 512;
    seen = seen || is_seen(disk, entry, 4096);
  }
  return seen ? 4096 : 512;
}

static bool read_mbr(const struct disk_input *disk, const unsigned char *sector, struct partition_table *table, struct failure *why) {
  uint32_t signature = little32(sector + 440);
  unsigned logical = 5;
  table->kind = TABLE_MBR;
  table->sector = mbr_sector(disk, sector);
  for (unsigned i = 0; i < 4; i++) {
    struct mbr_entry entry = mbr_entry(sector, i);
    if (entry.type == 0 || entry.sectors == 0 || is_extended(entry.type)) continue;
    if (!add_mbr(disk, table, i + 1, entry.start, entry.sectors, signature, why)) return false;
  }
  for (unsigned i = 0; i < 4; i++) {
    struct mbr_entry entry = mbr_entry(sector, i);
    if (entry.sectors != 0 && is_extended(entry.type) && !read_logical(disk, table, entry.start, &logical, signature, why)) return false;
  }
  return true;
}

// --- GPT -----------------------------------------------------------------------------------------------------------------------

struct gpt_header {
  uint64_t entries_at;
  uint32_t count, size, sum;
};

// The first three fields of a GUID are little-endian numbers.
static void guid_text(const unsigned char *at, char text[static DISK_UUID]) {
  const unsigned char bytes[16] = {at[3], at[2], at[1], at[0], at[5], at[4], at[7], at[6], at[8], at[9], at[10], at[11], at[12], at[13], at[14], at[15]};
  uuid_text(bytes, text);
}

static void utf8_add(char *text, size_t *length, uint32_t point) {
  if (point < 0x80) text[(*length)++] = (char)point;
  else if (point < 0x800) {
    text[(*length)++] = (char)(0xc0 | point >> 6);
    text[(*length)++] = (char)(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    text[(*length)++] = (char)(0xe0 | point >> 12);
    text[(*length)++] = (char)(0x80 | (point >> 6 & 0x3f));
    text[(*length)++] = (char)(0x80 | (point & 0x3f));
  } else {
    text[(*length)++] = (char)(0xf0 | point >> 18);
    text[(*length)++] = (char)(0x80 | (point >> 12 & 0x3f));
    text[(*length)++] = (char)(0x80 | (point >> 6 & 0x3f));
    text[(*length)++] = (char)(0x80 | (point & 0x3f));
  }
}

// 36 units of UTF-16 at most; half a pair becomes U+FFFD.
static void label_text(const unsigned char *at, char text[static PARTITION_LABEL]) {
  size_t length = 0;
  for (size_t i = 0; i < 36; i++) {
    uint32_t unit = little16(at + i * 2);
    if (unit == 0) break;
    if (unit >= 0xd800 && unit < 0xe000) {
      uint32_t low = i + 1 < 36 ? little16(at + i * 2 + 2) : 0;
      bool pair = unit < 0xdc00 && low >= 0xdc00 && low < 0xe000;
      unit = pair ? 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
      if (pair) i++;
    }
    utf8_add(text, &length, unit);
  }
  text[length] = '\0';
}

static bool header_at(const struct disk_input *disk, uint64_t offset, unsigned sector, struct gpt_header *header) {
  unsigned char at[512], zeros[4] = {0};
  if (!disk_read(disk, offset, at, sizeof at) || memcmp(at, "EFI PART", 8) != 0) return false;
  uint32_t length = little32(at + 12);
  if (length < 92 || length > sizeof at || little64(at + 24) != offset / sector) return false;
  uint32_t crc = crc32_add(UINT32_MAX, at, 16);
  crc = crc32_add(crc, zeros, sizeof zeros);
  if (~crc32_add(crc, at + 20, length - 20) != little32(at + 16)) return false;
  *header = (struct gpt_header){little64(at + 72), little32(at + 80), little32(at + 84), little32(at + 88)};
  return header->count > 0 && header->count <= MOST_PARTITIONS && header->size >= 128 && header->size <= ENTRY_MOST && header->size % 8 == 0 &&
         header->entries_at <= disk->size / sector;
}

static unsigned char *entries_of(const struct disk_input *disk, const struct gpt_header *header, unsigned sector) {
  size_t length = (size_t)header->count * header->size;
  unsigned char *entries = memory_get(length, 1);
  if (disk_read(disk, header->entries_at * sector, entries, length) && ~crc32_add(UINT32_MAX, entries, length) == header->sum) return entries;
  free(entries);
  return NULL;
}

static bool add_gpt(const struct disk_input *disk, struct partition_table *table, unsigned number, const unsigned char *entry, struct failure *why) {
  static const unsigned char none[16] = {0};
  static const char boot_loader[] = "21686148-6449-6e6f-744e-656564454649";
  uint64_t first = little64(entry + 32), last = little64(entry + 40);
  char type[DISK_UUID];
  if (memcmp(entry, none, sizeof none) == 0) return true;
  if (last < first || last > UINT64_MAX / table->sector - 1) return fail(why, ERROR_DISK_INVALID, "partition %u of the GPT ends before it begins", number);
  uint64_t offset = first * table->sector, size = (last - first + 1) * table->sector;
  if (reaches_past(disk, number, offset, size, why)) return false;
  struct partition *partition = add(table, number, offset, size);
  guid_text(entry, type);
  partition->unread = strcmp(type, boot_loader) == 0;
  guid_text(entry + 16, partition->uuid);
  label_text(entry + 56, partition->label);
  return true;
}

enum gpt_result { GPT_ABSENT, GPT_READ, GPT_WRONG };
static enum gpt_result read_gpt(const struct disk_input *disk, struct partition_table *table, struct failure *why) {
  static const unsigned sectors[] = {512, 4096};
  for (size_t i = 0; i < COUNT_OF(sectors) * 2; i++) {
    unsigned sector = sectors[i % 2];
    bool backup = i >= 2;
    struct gpt_header header;
    if (disk->size < (uint64_t)sector * 3) continue;
    uint64_t offset = backup ? disk->size / sector * sector - sector : sector;
    if (!header_at(disk, offset, sector, &header)) continue;
    AUTO_FREE unsigned char *entries = entries_of(disk, &header, sector);
    if (entries == NULL) continue;
    table->kind = TABLE_GPT;
    table->sector = sector;
    table->backup = backup;
    for (uint32_t k = 0; k < header.count; k++)
      if (!add_gpt(disk, table, k + 1, entries + (size_t)k * header.size, why)) return GPT_WRONG;
    return GPT_READ;
  }
  return GPT_ABSENT;
}

bool partitions_read(const struct disk_input *disk, struct partition_table *table, struct failure *why) {
  unsigned char sector[512];
  *table = (struct partition_table){0};
  if (!disk_read(disk, 0, sector, sizeof sector)) return fail(why, ERROR_DISK_INVALID, "the disk has less than a sector");
  bool mbr = is_mbr(sector);
  // A GPT that an ordinary MBR took the place of is a remnant.
  if (!mbr || is_protective(sector)) {
    enum gpt_result result = read_gpt(disk, table, why);
    if (result != GPT_ABSENT) return result == GPT_READ;
    if (mbr) return fail(why, ERROR_DISK_INVALID, "both headers of its GPT are damaged, or the disk was cut off");
  }
  return !mbr || read_mbr(disk, sector, table, why);
}
