// Blobs: what they inflate to, and where they end.
#include "tests/testing.h"

#include <isa-l/igzip_lib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "merge/blob.h"

#define PIECE ((size_t)256 << 10) // what blob.c reads at once

static void gzip(const char *at, size_t length, struct buffer *out) {
  struct isal_zstream stream;
  size_t room = length + length / 1000 + 1024;
  AUTO_FREE uint8_t *packed = malloc(room), *level = malloc(ISAL_DEF_LVL1_DEFAULT);
  assert_non_null(packed);
  isal_deflate_stateless_init(&stream);
  stream.level = 1;
  stream.level_buf = level;
  stream.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
  stream.gzip_flag = IGZIP_GZIP;
  stream.end_of_stream = 1;
  stream.flush = NO_FLUSH;
  stream.next_in = (uint8_t *)(uintptr_t)at;
  stream.avail_in = (uint32_t)length;
  stream.next_out = packed;
  stream.avail_out = (uint32_t)room;
  assert_int_equal(isal_deflate_stateless(&stream), COMP_OK);
  buffer_add(out, packed, room - stream.avail_out);
}

static void zstd(const char *at, size_t length, struct buffer *out) {
  size_t room = ZSTD_compressBound(length);
  AUTO_FREE char *packed = malloc(room);
  assert_non_null(packed);
  size_t size = ZSTD_compress(packed, room, at, length, 1);
  assert_false(ZSTD_isError(size));
  buffer_add(out, packed, size);
}

static void skippable(const char *at, size_t length, struct buffer *out) {
  const unsigned char header[8] = {0x5a, 0x2a, 0x4d, 0x18, (unsigned char)length, (unsigned char)(length >> 8), (unsigned char)(length >> 16), 0};
  buffer_add(out, header, sizeof header);
  buffer_add(out, at, length);
}

// Something that does not compress to nothing.
static void noise(size_t length, struct buffer *out) {
  uint64_t seed = 88172645463325252;
  while (length-- > 0) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    buffer_byte(out, (char)("abcdefghijklmnop"[seed & 15]));
  }
}

static const struct blob_limits wide = {UINT64_C(1) << 40, 1100};

// With other bytes around it in its file. NULL when it is fine, and then the inflated bytes hash as `wanted`.
static const char *inflated(const char *at, size_t length, const struct blob_limits *limits, const struct buffer *wanted, struct failure *why) {
  int fd = memfd_create("blob", MFD_CLOEXEC);
  assert_true(fd >= 0 && write(fd, "before", 6) == 6 && write(fd, at, length) == (ssize_t)length && write(fd, "\x1f\x8b after", 8) == 8);
  struct blob *blob = blob_open(fd, 6, length, limits);
  char digest[SHA256_HEX], other[SHA256_HEX];
  *why = (struct failure){0};
  bool fine = blob_digest(blob, digest, why);
  if (fine && wanted != NULL) {
    sha256_hex(wanted->at == NULL ? "" : wanted->at, wanted->length, other);
    assert_string_equal(digest, other);
    assert_int_equal(blob_inflated(blob), wanted->length);
  }
  blob_close(&blob);
  close(fd);
  return fine ? NULL : why->what;
}

static void fine(const struct buffer *packed, const struct buffer *wanted) {
  struct failure why;
  const char *fault = inflated(packed->at, packed->length, &wide, wanted, &why);
  if (fault != NULL) fail_row("%s", fault);
}

static void refused(const struct buffer *packed, const struct blob_limits *limits, enum error_code code, const char *what) {
  struct failure why;
  const char *fault = inflated(packed->at, packed->length, limits, NULL, &why);
  if (fault == NULL || why.code != code || strstr(fault, what) == NULL) fail_row("%s instead of %s", fault == NULL ? "nothing" : fault, what);
}

static void forms(void **state) {
  (void)state;
  static const size_t sizes[] = {1, 2, 3, 5, 512, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 7};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    AUTO_BUFFER data = {0}, gzipped = {0}, zstded = {0};
    noise(sizes[i], &data);
    fine(&data, &data);
    gzip(data.at, data.length, &gzipped);
    fine(&gzipped, &data);
    zstd(data.at, data.length, &zstded);
    fine(&zstded, &data);
  }
  AUTO_BUFFER nothing = {0};
  buffer_text(&nothing, "");
  fine(&nothing, &nothing);
}

static void members(void **state) {
  (void)state;
  AUTO_BUFFER data = {0}, gzipped = {0}, zstded = {0};
  gzip("", 0, &gzipped);
  zstd("", 0, &zstded);
  skippable("skip", 4, &zstded);
  for (int i = 0; i < 300; i++) {
    AUTO_BUFFER part = {0};
    noise((size_t)i * 31, &part);
    buffer_text(&part, "");
    buffer_add(&data, part.at, part.length);
    gzip(part.at, part.length, &gzipped);
    gzip("", 0, &gzipped);
    zstd(part.at, part.length, &zstded);
    if (i % 3 == 0) skippable(part.at, part.length, &zstded);
  }
  fine(&gzipped, &data);
  fine(&zstded, &data);
  // Alone they are an empty archive.
  AUTO_BUFFER none = {0}, skip = {0}, empty = {0};
  buffer_text(&none, "");
  skippable("0123456789", 10, &skip);
  fine(&skip, &none);
  gzip("", 0, &empty);
  gzip("", 0, &empty);
  fine(&empty, &none);
}

// A member's header, its trailer and the next member's beginning fall on every place around the end of what is read at once.
static void boundaries(void **state) {
  (void)state;
  AUTO_BUFFER data = {0}, tail = {0};
  noise(PIECE * 3, &data);
  noise(100, &tail);
  for (size_t shift = 0; shift < 48; shift++) {
    // A stored block is as long as it is wanted: find what makes the first member end where it should.
    AUTO_BUFFER first = {0}, wanted = {0};
    unsigned char header[10] = {0x1f, 0x8b, 8, 8}; // with a name, whose length is free
    AUTO_BUFFER member = {0};
    gzip(data.at, 1000, &member);
    size_t name = PIECE - member.length - 24 + shift;
    buffer_add(&first, header, sizeof header);
    for (size_t i = 0; i < name - 1; i++) buffer_byte(&first, 'n');
    buffer_byte(&first, '\0');
    buffer_add(&first, member.at + 10, member.length - 10);
    gzip(tail.at, tail.length, &first);
    buffer_add(&wanted, data.at, 1000);
    buffer_add(&wanted, tail.at, tail.length);
    fine(&first, &wanted);
  }
}

static void cut(void **state) {
  (void)state;
  AUTO_BUFFER data = {0}, gzipped = {0}, zstded = {0};
  noise(3000, &data);
  gzip(data.at, data.length, &gzipped);
  zstd(data.at, data.length, &zstded);
  skippable("0123456789", 10, &zstded);
  size_t frame = zstded.length - 18;
  for (size_t length = 2; length < gzipped.length; length++) {
    const struct buffer part = {gzipped.at, length, 0};
    refused(&part, &wide, ERROR_LAYER_INVALID, "it is no valid gzip stream: it is cut");
  }
  for (size_t length = 4; length < zstded.length; length++) {
    const struct buffer part = {zstded.at, length, 0};
    if (length != frame) refused(&part, &wide, ERROR_LAYER_INVALID, "it is no valid zstd stream");
  }
}

static void damaged(void **state) {
  (void)state;
  AUTO_BUFFER data = {0}, gzipped = {0}, zstded = {0};
  noise(3000, &data);
  gzip(data.at, data.length, &gzipped);
  zstd(data.at, data.length, &zstded);
  size_t whole = gzipped.length;
  gzipped.at[whole - 8] ^= 1; // the checksum
  refused(&gzipped, &wide, ERROR_LAYER_INVALID, "its checksum is wrong");
  gzipped.at[whole - 8] ^= 1;
  gzipped.at[whole - 1] ^= 1; // the length
  refused(&gzipped, &wide, ERROR_LAYER_INVALID, "gzip");
  gzipped.at[whole - 1] ^= 1;
  buffer_text(&gzipped, "garbage that is no member");
  refused(&gzipped, &wide, ERROR_LAYER_INVALID, "gzip");
  gzipped.length = whole;
  for (int i = 0; i < 100; i++) buffer_byte(&gzipped, '\0');
  refused(&gzipped, &wide, ERROR_LAYER_INVALID, "gzip");
  buffer_text(&zstded, "garbage");
  refused(&zstded, &wide, ERROR_LAYER_INVALID, "zstd");
  AUTO_BUFFER xz = {0}, bzip2 = {0};
  buffer_add(&xz, "\xfd" "7zXZ", 6);
  buffer_text(&bzip2, "BZh91AY");
  refused(&xz, &wide, ERROR_LAYER_INVALID, "xz");
  refused(&bzip2, &wide, ERROR_LAYER_INVALID, "bzip2");
}

static void bombs(void **state) {
  (void)state;
  AUTO_BUFFER zeros = {0}, gzipped = {0}, zstded = {0}, window = {0};
  const size_t large = (size_t)65 << 20;
  zeros.at = calloc(large, 1);
  assert_non_null(zeros.at);
  zeros.length = large;
  gzip(zeros.at, zeros.length, &gzipped);
  zstd(zeros.at, zeros.length, &zstded);
  const struct blob_limits ratio = {UINT64_C(1) << 40, 100}, bytes = {1000, 1100};
  refused(&gzipped, &ratio, ERROR_LIMIT_EXCEEDED, "more than 100 times its size");
  refused(&zstded, &ratio, ERROR_LIMIT_EXCEEDED, "more than 100 times its size");
  refused(&gzipped, &bytes, ERROR_LIMIT_EXCEEDED, "more than the 1000 bytes that are left for it");
  refused(&zstded, &bytes, ERROR_LIMIT_EXCEEDED, "more than the 1000 bytes");
  refused(&zeros, &bytes, ERROR_LIMIT_EXCEEDED, "more than the 1000 bytes");
  // In members, none of which is large.
  AUTO_BUFFER nested = {0};
  for (int i = 0; i < 70; i++) gzip(zeros.at, 1 << 20, &nested);
  refused(&nested, &ratio, ERROR_LIMIT_EXCEEDED, "more than 100 times its size");
  // A frame that asks for a window of 2 GiB.
  const unsigned char frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00};
  buffer_add(&window, frame, sizeof frame);
  refused(&window, &wide, ERROR_LIMIT_EXCEEDED, "its zstd window is larger than 128 MiB");
  // Small ones are let pass.
  AUTO_BUFFER small = {0};
  const struct buffer less = {zeros.at, (size_t)60 << 20, 0};
  gzip(less.at, less.length, &small);
  struct failure why;
  assert_null(inflated(small.at, small.length, &ratio, NULL, &why));
}

static void most(void **state) {
  (void)state;
  assert_true(blob_most(0, 5) == (uint64_t)64 << 20);
  assert_true(blob_most(1 << 20, 1000) == UINT64_C(1000) << 20);
  assert_true(blob_most(LARGEST_SIZE, LARGEST_SIZE) == UINT64_MAX);
}

static void shrinks(void **state) {
  (void)state;
  int fd = memfd_create("blob", MFD_CLOEXEC);
  assert_int_equal(ftruncate(fd, 100), 0);
  struct blob *blob = blob_open(fd, 0, 200, &wide);
  struct failure why;
  char digest[SHA256_HEX];
  assert_false(blob_digest(blob, digest, &why));
  assert_non_null(strstr(why.what, "the blob became shorter while it was read"));
  blob_close(&blob);
  close(fd);
}

int main(void) {
  blob_prepare();
  const struct CMUnitTest tests[] = {cmocka_unit_test(forms), cmocka_unit_test(members), cmocka_unit_test(boundaries), cmocka_unit_test(cut),
    cmocka_unit_test(damaged), cmocka_unit_test(bombs), cmocka_unit_test(most), cmocka_unit_test(shrinks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
