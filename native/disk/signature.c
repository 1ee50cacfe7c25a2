#include "disk/signature.h"

#include <stdio.h>

static void label_set(struct signature *signature, const unsigned char *at, size_t room) {
  size_t length = strnlen((const char *)at, room);
  if (length >= sizeof signature->label) length = sizeof signature->label - 1;
  memcpy(signature->label, at, length);
  signature->label[length] = '\0';
}

static void found(struct signature *signature, enum contents contents, const char *type) {
  signature->contents = contents;
  signature->type = signature->driver = type;
}

#define EXT_JOURNAL 0x4
#define EXT_JOURNAL_DEVICE 0x8
#define EXT4_ONLY 0x2d0 // extents, 64 bit, flexible groups, metablock checksums: what ext3 has not

static bool try_ext(const struct disk_input *volume, struct signature *signature) {
  unsigned char at[1024];
  if (!disk_read(volume, 1024, at, sizeof at) || little16(at + 0x38) != 0xef53) return false;
  uint32_t compatible = little32(at + 0x5c), incompatible = little32(at + 0x60), read_only = little32(at + 0x64);
  bool is_ext4 = (incompatible & EXT4_ONLY) != 0 || (read_only & ~UINT32_C(7)) != 0;
  found(signature, CONTENTS_READABLE, is_ext4 ? "ext4" : (compatible & EXT_JOURNAL) != 0 ? "ext3" : "ext2");
  signature->driver = "ext4";
  if ((incompatible & EXT_JOURNAL_DEVICE) != 0) {
    found(signature, CONTENTS_OTHER, "jbd");
  } else if ((compatible & EXT_JOURNAL) != 0 && little32(at + 0xe0) == 0) {
    // It names that device by its number, and the kernel would write to it.
    signature->contents = CONTENTS_UNSUPPORTED;
    signature->obstacle = "an ext file system whose journal lies on another device";
  }
  label_set(signature, at + 0x78, 16);
  uuid_text(at + 0x68, signature->uuid);
  return true;
}

static bool try_xfs(const struct disk_input *volume, struct signature *signature) {
  unsigned char at[512];
  if (!disk_read(volume, 0, at, sizeof at) || memcmp(at, "XFSB", 4) != 0) return false;
  found(signature, CONTENTS_READABLE, "xfs");
  label_set(signature, at + 108, 12);
  uuid_text(at + 32, signature->uuid);
  return true;
}

static bool try_btrfs(const struct disk_input *volume, struct signature *signature) {
  unsigned char at[1024];
  if (!disk_read(volume, 0x10000, at, sizeof at) || memcmp(at + 0x40, "_BHRfS_M", 8) != 0) return false;
  found(signature, CONTENTS_READABLE, "btrfs");
  label_set(signature, at + 0x12b, 256);
  uuid_text(at + 0x20, signature->uuid);
  signature->logged = little64(at + 0x60) != 0;
  if (little64(at + 0x88) > 1) {
    signature->contents = CONTENTS_UNSUPPORTED;
    signature->obstacle = "a btrfs over several devices";
  }
  return true;
}

// Linux software RAID: at the start, 4096 bytes behind it, or near the end.
static bool try_raid(const struct disk_input *volume, struct signature *signature) {
  uint64_t size = volume->size & ~UINT64_C(4095), old = volume->size & ~UINT64_C(65535);
  const uint64_t places[] = {0, 4096, size >= 8192 ? size - 8192 : 0, old >= 65536 ? old - 65536 : 0};
  for (size_t i = 0; i < COUNT_OF(places); i++) {
    unsigned char at[4];
    if (!disk_read(volume, places[i], at, sizeof at) || little32(at) != UINT32_C(0xa92b4efc)) continue;
    found(signature, CONTENTS_UNSUPPORTED, "linux_raid_member");
    signature->obstacle = "a member of a software RAID (mdraid)";
    return true;
  }
  return false;
}

static bool try_volumes(const struct disk_input *volume, struct signature *signature) {
  for (uint64_t sector = 0; sector < 4; sector++) {
    unsigned char at[32];
    if (!disk_read(volume, sector * 512, at, sizeof at) || memcmp(at, "LABELONE", 8) != 0 || memcmp(at + 24, "LVM2 001", 8) != 0) continue;
    found(signature, CONTENTS_VOLUMES, "LVM2_member");
    return true;
  }
  return false;
}

static bool try_swap(const struct disk_input *volume, struct signature *signature) {
  static const uint64_t pages[] = {4096, 8192, 16384, 65536};
  for (size_t i = 0; i < COUNT_OF(pages); i++) {
    unsigned char at[10];
    if (!disk_read(volume, pages[i] - 10, at, sizeof at) || (memcmp(at, "SWAPSPACE2", 10) != 0 && memcmp(at, "SWAP-SPACE", 10) != 0)) continue;
    found(signature, CONTENTS_OTHER, "swap");
    return true;
  }
  return false;
}

static const struct {
  uint64_t offset;
  const char *mark;
  unsigned char length;
  enum contents contents;
  const char *type, *obstacle;
} marks[] = {
  {0, "LUKS\xba\xbe", 6, CONTENTS_UNSUPPORTED, "crypto_LUKS", "encrypted (LUKS)"},
  {3, "-FVE-FS-", 8, CONTENTS_UNSUPPORTED, "BitLocker", "encrypted (BitLocker)"},
  {4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca", 8, CONTENTS_UNSUPPORTED, "bcache", "a part of a bcache"},
  {82, "FAT32   ", 8, CONTENTS_OTHER, "vfat", NULL},
  {54, "FAT16   ", 8, CONTENTS_OTHER, "vfat", NULL},
  {54, "FAT12   ", 8, CONTENTS_OTHER, "vfat", NULL},
  {3, "EXFAT   ", 8, CONTENTS_OTHER, "exfat", NULL},
  {3, "NTFS    ", 8, CONTENTS_UNSUPPORTED, "ntfs", "NTFS"},
  {1024, "\x10\x20\xf5\xf2", 4, CONTENTS_UNSUPPORTED, "f2fs", "f2fs"},
  {65536 + 52, "ReIsEr", 6, CONTENTS_UNSUPPORTED, "reiserfs", "reiserfs"},
  {32768, "JFS1", 4, CONTENTS_UNSUPPORTED, "jfs", "JFS"},
  {131072 + 8, "\x0c\xb1\xba\x00", 4, CONTENTS_UNSUPPORTED, "zfs_member", "a part of a ZFS pool"},
  {0, "hsqs", 4, CONTENTS_UNSUPPORTED, "squashfs", "a squashfs (of a live medium)"},
  {32769, "CD001", 5, CONTENTS_UNSUPPORTED, "iso9660", "an ISO 9660 (of an installation medium)"},
  {1024, "\xe2\xe1\xf5\xe0", 4, CONTENTS_UNSUPPORTED, "erofs", "EROFS"},
  {4096 + 24, "\xc6\x85\x73\xf6\x66\xce\x90\xa9", 8, CONTENTS_UNSUPPORTED, "bcachefs", "bcachefs"},
};

static bool try_marks(const struct disk_input *volume, struct signature *signature) {
  for (size_t i = 0; i < COUNT_OF(marks); i++) {
    unsigned char at[16];
    if (!disk_read(volume, marks[i].offset, at, marks[i].length) || memcmp(at, marks[i].mark, marks[i].length) != 0) continue;
    found(signature, marks[i].contents, marks[i].type);
    signature->obstacle = marks[i].obstacle;
    return true;
  }
  return false;
}

void signature_read(const struct disk_input *volume, struct signature *signature) {
  *signature = (struct signature){.type = "-", .driver = "-"};
  // A member of a mirror shows the file system within it as well, so the containers come first.
  if (try_raid(volume, signature) || try_volumes(volume, signature)) return;
  if (try_ext(volume, signature) || try_xfs(volume, signature) || try_btrfs(volume, signature)) return;
  if (try_swap(volume, signature)) return;
  try_marks(volume, signature);
}
