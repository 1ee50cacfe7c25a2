// Partition tables: GPT with its backup, MBR with logical partitions, sectors of 512 and 4096 bytes.
// https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html
#pragma once
#include "disk/input.h"

#define PARTITION_LABEL 145 // 36 UTF-16 units as UTF-8

struct partition {
  unsigned number;
  uint64_t offset, size; // bytes
  bool unread;           // a boot loader's: it holds no file system
  char uuid[DISK_UUID], label[PARTITION_LABEL];
};

enum table_kind { TABLE_NONE, TABLE_MBR, TABLE_GPT };
struct partition_table {
  enum table_kind kind;
  unsigned sector;
  bool backup; // the first header of the GPT was damaged
  struct partition *items;
  size_t count, room;
};

// False when there is a table and it is damaged, or says more than the disk holds. A disk without one gives TABLE_NONE.
bool partitions_read(const struct disk_input *disk, struct partition_table *table, struct failure *why) MUST_USE;
void partitions_free(struct partition_table *table);
