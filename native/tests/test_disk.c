// What shifter-disk and its guest parse: partition tables, LVM's metadata, fstab, os-release, and what the guest tells.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "disk/fstab.h"
#include "disk/kernel_log.h"
#include "disk/partitions.h"
#include "disk/relay.h"
#include "disk/signature.h"
#include "disk/strip.h"
#include "disk/system.h"
#include "disk/volume_group.h"
#include "disk/volumes.h"

#include <cmocka.h>

static unsigned char disk[1 << 20];

static bool read_memory(void *from, uint64_t offset, void *into, size_t length) {
  memcpy(into, (const unsigned char *)from + offset, length);
  return true;
}

static const struct disk_input input = {read_memory, disk, sizeof disk};

static void mbr_put(size_t sector, size_t index, unsigned char type, uint32_t start, uint32_t sectors) {
  unsigned char *at = disk + sector * 512 + 446 + index * 16;
  at[4] = type;
  for (size_t i = 0; i < 4; i++) at[8 + i] = (unsigned char)(start >> (8 * i)), at[12 + i] = (unsigned char)(sectors >> (8 * i));
  disk[sector * 512 + 510] = 0x55;
  disk[sector * 512 + 511] = 0xaa;
}

static void test_logical_partitions(void **state) {
  (void)state;
  struct failure why = {0};
  CLEANUP(partitions_free) struct partition_table table = {0};
  memset(disk, 0, sizeof disk);
  mbr_put(0, 0, 0x83, 8, 8);
  mbr_put(0, 1, 0x0f, 64, 512);
  mbr_put(64, 0, 0x83, 2, 8);
  mbr_put(64, 1, 0x05, 100, 64);
  mbr_put(164, 0, 0x83, 2, 16);
  assert_true(partitions_read(&input, &table, &why));
  assert_int_equal(table.count, 3);
  assert_int_equal(table.items[1].number, 5);
  assert_int_equal(table.items[1].offset, 66 * 512);
  assert_int_equal(table.items[2].number, 6);
  assert_int_equal(table.items[2].offset, 166 * 512);
  assert_string_equal(table.items[2].uuid, "00000000-06");
}

// Who makes a partition in the place of a deleted one has a chain that goes back.
static void test_logical_partitions_out_of_order(void **state) {
  (void)state;
  struct failure why = {0};
  CLEANUP(partitions_free) struct partition_table table = {0};
  memset(disk, 0, sizeof disk);
  mbr_put(0, 0, 0x05, 64, 512);
  mbr_put(64, 0, 0x83, 2, 8);
  mbr_put(64, 1, 0x05, 200, 64);
  mbr_put(264, 0, 0x83, 2, 8);
  mbr_put(264, 1, 0x05, 100, 64);
  mbr_put(164, 0, 0x83, 2, 8);
  assert_true(partitions_read(&input, &table, &why));
  assert_int_equal(table.count, 3);
  assert_int_equal(table.items[2].offset, 166 * 512);
  mbr_put(164, 1, 0x05, 200, 64); // a circle of two
  partitions_free(&table);
  assert_false(partitions_read(&input, &table, &why));
  assert_string_equal(why.what, "the tables of its logical partitions lead back to each other");
}

static void test_damaged_tables(void **state) {
  (void)state;
  struct failure why = {0};
  struct partition_table table = {0};
  memset(disk, 0, sizeof disk);
  mbr_put(0, 0, 0x05, 64, 512);
  mbr_put(64, 1, 0x05, 0, 64); // leads back to itself
  assert_false(partitions_read(&input, &table, &why));
  assert_int_equal(why.code, ERROR_DISK_INVALID);
  partitions_free(&table);
  memset(disk, 0, sizeof disk);
  mbr_put(0, 0, 0xee, 1, 2047);
  assert_false(partitions_read(&input, &table, &why));
  assert_string_equal(why.what, "both headers of its GPT are damaged, or the disk was cut off");
  memset(disk, 0, sizeof disk);
  assert_true(partitions_read(&input, &table, &why));
  assert_int_equal(table.kind, TABLE_NONE);
}

static void ext_put(size_t offset) {
  disk[offset + 1080] = 0x53;
  disk[offset + 1081] = 0xef;
}

static unsigned sector_of(size_t count) {
  struct failure why = {0};
  CLEANUP(partitions_free) struct partition_table table = {0};
  assert_true(partitions_read(&input, &table, &why));
  assert_int_equal(table.count, count);
  return table.sector;
}

// What an MBR's sectors are is told by what lies where it leads to, and is 512 wherever that is in doubt.
static void test_sector_of_mbr(void **state) {
  (void)state;
  memset(disk, 0, sizeof disk);
  mbr_put(0, 0, 0x82, 8, 8);
  mbr_put(0, 1, 0x83, 16, 64);
  assert_int_equal(sector_of(2), 512); // nothing is seen
  ext_put(16 * 4096);
  assert_int_equal(sector_of(2), 4096);
  ext_put(16 * 512);
  assert_int_equal(sector_of(2), 512); // both are
  memset(disk + 16 * 512, 0, 2048);
  mbr_put(0, 2, 0x83, 192, 64);
  assert_int_equal(sector_of(3), 4096); // up to the end of the disk
  mbr_put(0, 2, 0x83, 192, 65);
  assert_int_equal(sector_of(3), 512);
  mbr_put(0, 2, 0x83, UINT32_MAX, UINT32_MAX);
  struct failure why = {0};
  CLEANUP(partitions_free) struct partition_table table = {0};
  assert_false(partitions_read(&input, &table, &why));
  assert_string_equal(why.what, "partition 3 ends at byte 4398046510080, but the disk has 1048576: it was cut off");
}

static void test_sector_of_logical_partitions(void **state) {
  (void)state;
  struct failure why = {0};
  CLEANUP(partitions_free) struct partition_table table = {0};
  memset(disk, 0, sizeof disk);
  mbr_put(0, 0, 0x05, 64, 128);
  mbr_put(64 * 8, 0, 0x83, 2, 8);
  assert_true(partitions_read(&input, &table, &why));
  assert_int_equal(table.sector, 4096);
  assert_int_equal(table.items[0].offset, 66 * 4096);
  assert_int_equal(table.items[0].size, 8 * 4096);
  partitions_free(&table);
  mbr_put(64, 0, 0x83, 2, 8);
  assert_true(partitions_read(&input, &table, &why));
  assert_int_equal(table.items[0].offset, 66 * 512);
}

static void map_add_linear(struct map *map, uint64_t length, uint64_t place) {
  map_add(map, length, 0, &place, 1);
}

static void test_map(void **state) {
  (void)state;
  static const uint64_t stripes[] = {100, 500, 900};
  CLEANUP(map_free) struct map map = {0};
  assert_int_equal(map_size(&map), 0);
  assert_int_equal(map_find(&map, 0).length, 0);
  map_add_linear(&map, 10, 1000);
  map_add(&map, 12, 2, stripes, 3);
  map_add_linear(&map, 1, 7);
  assert_int_equal(map_size(&map), 23 * 512);
  static const struct {
    uint64_t offset, place, length;
  } rows[] = {{0, 1000 * 512, 10 * 512}, {5119, 1000 * 512 + 5119, 1}, {10 * 512, 100 * 512, 1024}, {12 * 512, 500 * 512, 1024}, {14 * 512 + 1000, 900 * 512 + 1000, 24},
    {16 * 512, 102 * 512, 1024}, {21 * 512, 903 * 512, 512}, {22 * 512 + 511, 7 * 512 + 511, 1}, {23 * 512, 0, 0}, {UINT64_MAX, 0, 0}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct map_run run = map_find(&map, rows[i].offset);
    assert_int_equal(run.place, rows[i].place);
    assert_int_equal(run.length, rows[i].length);
  }
}

// Each sector of the disk says its own number.
static void test_mapped_bytes(void **state) {
  (void)state;
  static const uint64_t stripes[] = {8, 32};
  CLEANUP(map_free) struct map map = {0};
  unsigned char bytes[8 * 512];
  for (size_t i = 0; i < sizeof disk; i++) disk[i] = (unsigned char)(i / 512);
  map_add_linear(&map, 2, 60);
  map_add(&map, 4, 1, stripes, 2);
  struct mapped mapped = {&map, &input};
  const struct disk_input volume = map_input(&mapped);
  assert_int_equal(volume.size, 6 * 512);
  assert_true(disk_read(&volume, 0, bytes, 6 * 512));
  static const unsigned char expected[] = {60, 61, 8, 32, 9, 33};
  for (size_t i = 0; i < sizeof expected; i++) assert_int_equal(bytes[i * 512 + 511], expected[i]);
  assert_true(disk_read(&volume, 2 * 512 - 1, bytes, 2));
  assert_int_equal(bytes[0], 61);
  assert_int_equal(bytes[1], 8);
  assert_false(disk_read(&volume, 6 * 512 - 1, bytes, 2));
  map_add_linear(&map, 1, sizeof disk / 512); // behind the disk's end
  const struct disk_input longer = map_input(&mapped);
  assert_false(disk_read(&longer, 6 * 512, bytes, 1));
}

static const char group_text[] =
    "vg-x {\n id = \"a\"\n seqno = 4\n status = [\"RESIZEABLE\", \"READ\"]\n extent_size = 8192 # 4 MiB\n"
    " physical_volumes { pv0 { id = \"abcdef-0123-4567-89ab-cdef-0123-456789\"\n pe_start = 2048 } }\n"
    " logical_volumes {\n"
    "  root { status = [\"READ\", \"VISIBLE\"]\n segment_count = 1\n segment1 { start_extent = 0\n extent_count = 20\n type = \"striped\"\n"
    "   stripe_count = 1\n stripes = [\"pv0\", 3] } }\n"
    "  thin { status = [\"VISIBLE\"]\n segment_count = 1\n segment1 { start_extent = 0\n extent_count = 1\n type = \"thin\"\n } }\n"
    "  pool_tdata { status = [\"READ\"]\n segment_count = 1 }\n } }\n";

static void test_group(void **state) {
  (void)state;
  struct failure why = {0};
  CLEANUP(lvm_group_free) struct lvm_group group = {0};
  assert_true(lvm_group_read(group_text, sizeof group_text - 1, &group, &why));
  assert_string_equal(group.name, "vg-x");
  assert_string_equal(group.physical[0], "abcdef0123456789abcdef0123456789");
  assert_int_equal(group.volume_count, 2);
  assert_null(group.volumes[0].type);
  assert_int_equal(group.volumes[0].segments[0].stripes[0].offset, 2048 + 3 * 8192);
  assert_int_equal(group.volumes[0].segments[0].length, 20 * 8192);
  assert_string_equal(group.volumes[1].type, "thin");
}

static void test_group_damaged(void **state) {
  (void)state;
  // Cut off anywhere, it is damaged and nothing else.
  for (size_t length = 0; length < sizeof group_text - 3; length++) {
    struct failure why = {0};
    struct lvm_group group = {0};
    char *copy = memory_copy(group_text, length);
    assert_false(lvm_group_read(copy, length, &group, &why));
    assert_int_equal(why.code, ERROR_DISK_INVALID);
    lvm_group_free(&group);
    free(copy);
  }
}

static void test_fstab(void **state) {
  (void)state;
  static const char text[] = "# none\nLABEL=a\\040b /var//log/ ext4 defaults 0 0\n/dev/mapper/v--g-usr /usr xfs nofail 0 0\n"
                             "/dev/sda3 /home btrfs rw,subvol=/@home 0 0\nserver:/x /opt nfs defaults\nUUID=x /opt ext4 noauto\n"
                             "UUID=x /opt/../etc ext4 defaults\nUUID=x /optional ext4 defaults\nnone /var/tmp tmpfs defaults\nUUID=y /usr/local ext4";
  CLEANUP(fstab_free) struct fstab fstab = {0};
  fstab_read(text, sizeof text - 1, &fstab);
  assert_int_equal(fstab.count, 4);
  assert_string_equal(fstab.items[0].path, "/home");
  assert_int_equal(fstab.items[0].by, FSTAB_NUMBER);
  assert_string_equal(fstab.items[0].value, "3");
  assert_string_equal(fstab.items[0].subvolume, "@home");
  assert_string_equal(fstab.items[1].path, "/usr");
  assert_string_equal(fstab.items[1].value, "v-g/usr");
  assert_true(fstab.items[1].may_fail);
  assert_string_equal(fstab.items[2].path, "/usr/local");
  assert_string_equal(fstab.items[3].path, "/var/log");
  assert_string_equal(fstab.items[3].value, "a b");
}

static void test_strip(void **state) {
  (void)state;
  assert_true(strip_match("etc/ssh/ssh_host_rsa_key", S_IFREG) >= 0);
  assert_true(strip_match("boot/grub", S_IFDIR) >= 0);
  assert_true(strip_match("var/log/a/b", S_IFREG) >= 0);
  assert_int_equal(strip_match("var/log/a", S_IFDIR), -1);
  assert_int_equal(strip_match("boot", S_IFDIR), -1);
  assert_int_equal(strip_match("etc/ssh/ssh_config", S_IFREG), -1);
  assert_int_equal(strip_match("usr/boot/x", S_IFREG), -1);
}

static void test_told(void **state) {
  (void)state;
  struct told_line told;
  static const char *const wrong[] = {"", "done", "done 1", "done 1 2 3", "done -1 2", "done 1 99999999999999999999", "fault USAGE no", "fault DISK_INVALID",
    "found 1 ext4", "other 1", "progress", "root 1", "stripped x y", "progress 1\033[2J"};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) assert_int_equal(told_read(wrong[i], strlen(wrong[i]), &told), TOLD_WRONG);
  assert_int_equal(told_read("done 512 2", 10, &told), TOLD_DONE);
  assert_int_equal(told.bytes, 512);
  assert_int_equal(told_read("fault DISK_INVALID it is broken", 31, &told), TOLD_FAULT);
  assert_string_equal(told.fault.what, "it is broken");
}

static void test_relay(void **state) {
  (void)state;
  CLEANUP(relay_free) struct relay relay = {0};
  AUTO_BUFFER out = {0};
  struct failure why = {0};
  assert_true(relay_voice(&relay, "root 1 ex", 9, &out, &why));
  assert_true(relay_voice(&relay, "t4\ndone 512 1\nnoise", 18, &out, &why));
  assert_string_equal(out.at, "root 1 ext4\n");
  assert_true(relay.ended);
  for (size_t i = 0; i < 4000; i++) relay_log(&relay, "some line of the kernel's log\n", 30);
  relay_log(&relay, "Kernel panic - not syncing: no\nmore\n", 36);
  assert_true(relay.log.length <= 64 << 10);
  relay_died(&relay, &why);
  assert_string_equal(why.what, "its kernel gave up on the disk: no");
}

// What a guest that is no reader any more may tell is limited in number.
static void test_relay_flood(void **state) {
  (void)state;
  struct relay relay = {.most = UINT64_C(1) << 30};
  struct failure why = {0};
  size_t lines = 0;
  bool heard = true;
  for (; heard && lines < 100000; lines++) {
    AUTO_BUFFER out = {0};
    heard = relay_voice(&relay, "fact title x\n", 13, &out, &why);
  }
  assert_int_equal(lines, 1001);
  assert_string_equal(why.what, "the reader tells more than a reader has to tell");
  relay_free(&relay);
  static const char *const wrong[] = {"progress 67108863\n", "progress 67108864\nprogress 67108865\n", "progress 134217728\nprogress 1\n", "progress 2147483648\n"};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    AUTO_BUFFER out = {0};
    CLEANUP(relay_free) struct relay next = {.most = UINT64_C(1) << 30};
    assert_false(relay_voice(&next, wrong[i], strlen(wrong[i]), &out, &why));
  }
}

// One device's name may be the beginning of another's, of another disk.
static void test_kernel_log(void **state) {
  (void)state;
  static const struct {
    const char *record, *words;
  } each[] = {{"3,1,2,-;EXT4-fs (loop1): no journal\n SUBSYSTEM=block\n", "no journal"}, {"3,1,2,-;EXT4-fs (loop10): somebody else's\n", NULL},
    {"3,1,2,-;xloop1: x", NULL}, {"3,1,2,-;loop10 and loop1: both", "both"}, {"3,1,2,-;loop1", ""}, {"loop1", NULL}, {";", NULL}, {"3,1,2,-;x\n DEVICE=loop1\n", NULL}};
  for (size_t i = 0; i < COUNT_OF(each); i++) {
    AUTO_FREE char *record = memory_copy(each[i].record, strlen(each[i].record));
    const char *words = kernel_log_words(record, "loop1");
    if (each[i].words == NULL) assert_null(words);
    else assert_string_equal(words, each[i].words);
  }
}

// The kernel would open the device of the machine that such a file system names.
static void test_external_journal(void **state) {
  (void)state;
  struct signature signature;
  memset(disk, 0, sizeof disk);
  ext_put(0);
  signature_read(&input, &signature);
  assert_string_equal(signature.type, "ext2");
  assert_int_equal(signature.contents, CONTENTS_READABLE);
  disk[1024 + 0x5c] = 4;
  disk[1024 + 0xe0] = 8;
  signature_read(&input, &signature);
  assert_string_equal(signature.type, "ext3");
  assert_int_equal(signature.contents, CONTENTS_READABLE);
  disk[1024 + 0xe0] = 0;
  disk[1024 + 0xe5] = 8; // 8:0
  signature_read(&input, &signature);
  assert_int_equal(signature.contents, CONTENTS_UNSUPPORTED);
  assert_string_equal(signature.obstacle, "an ext file system whose journal lies on another device");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_logical_partitions), cmocka_unit_test(test_damaged_tables), cmocka_unit_test(test_map), cmocka_unit_test(test_mapped_bytes), cmocka_unit_test(test_group),
    cmocka_unit_test(test_group_damaged), cmocka_unit_test(test_fstab), cmocka_unit_test(test_strip), cmocka_unit_test(test_told), cmocka_unit_test(test_relay),
    cmocka_unit_test(test_relay_flood), cmocka_unit_test(test_logical_partitions_out_of_order), cmocka_unit_test(test_sector_of_mbr),
    cmocka_unit_test(test_sector_of_logical_partitions), cmocka_unit_test(test_kernel_log), cmocka_unit_test(test_external_journal)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
