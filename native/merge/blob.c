#include "merge/blob.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

#define PIECE ((size_t)256 << 10) // stays in a processor's own cache between the inflater, the hash and the copy
#define WINDOW_LOG 27             // 128 MiB: what zstd itself accepts without being asked
#define UNCHECKED ((uint64_t)64 << 20)

enum form { FORM_UNKNOWN, FORM_GZIP, FORM_ZSTD, FORM_PLAIN };

struct blob {
  int fd;
  uint64_t offset, left, length, inflated;
  struct blob_limits limits;
  enum form form;
  EVP_MD_CTX *hash;
  struct inflate_state gzip;
  bool between; // gzip members, or zstd frames
  ZSTD_DStream *zstd;
  unsigned char *in, *out;
  size_t in_at, in_end;
};

void blob_prepare(void) {
  // No configuration file and no variable of the environment has a say in a hash.
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  if (context == NULL || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) memory_exhausted();
  EVP_MD_CTX_free(context);
}

struct blob *blob_open(int fd, uint64_t offset, uint64_t length, const struct blob_limits *limits) {
  struct blob *blob = memory_get(1, sizeof *blob);
  *blob = (struct blob){.fd = fd, .offset = offset, .left = length, .length = length, .limits = *limits, .between = true};
  blob->in = memory_get(1, PIECE);
  blob->out = memory_get(1, PIECE);
  blob->hash = EVP_MD_CTX_new();
  if (blob->hash == NULL || EVP_DigestInit_ex(blob->hash, EVP_sha256(), NULL) != 1) memory_exhausted();
  return blob;
}

void blob_close(struct blob **blob) {
  struct blob *each = *blob;
  if (each == NULL) return;
  EVP_MD_CTX_free(each->hash);
  ZSTD_freeDStream(each->zstd);
  free(each->in);
  free(each->out);
  free(each);
  *blob = NULL;
}

uint64_t blob_inflated(const struct blob *blob) {
  return blob->inflated;
}

static bool damaged(struct failure *why, const char *form, const char *what) {
  return fail(why, ERROR_LAYER_INVALID, "it is no valid %s stream: %s", form, what);
}

static bool read_some(struct blob *blob, unsigned char *into, size_t room, size_t *got, struct failure *why) {
  size_t most = blob->left < room ? (size_t)blob->left : room;
  for (*got = 0; *got < most;) { // whole pieces, as the first bytes tell the form
    ssize_t n = pread(blob->fd, into + *got, most - *got, (off_t)blob->offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(why, ERROR_STATE_UNUSABLE, "the blob can't be read: %s", strerror(errno));
    if (n == 0) return fail(why, ERROR_LAYER_INVALID, "the blob became shorter while it was read");
    blob->offset += (uint64_t)n;
    blob->left -= (uint64_t)n;
    *got += (size_t)n;
  }
  return true;
}

static bool refill(struct blob *blob, struct failure *why) {
  blob->in_at = 0;
  return read_some(blob, blob->in, PIECE, &blob->in_end, why);
}

static bool know_form(struct blob *blob, struct failure *why) {
  if (!refill(blob, why)) return false;
  size_t n = blob->in_end;
  const unsigned char *b = blob->in;
  uint32_t magic = n < 4 ? 0 : (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
  blob->form = FORM_PLAIN;
  if (n >= 2 && b[0] == 0x1f && b[1] == 0x8b) blob->form = FORM_GZIP;
  if (magic == ZSTD_MAGICNUMBER || (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START) blob->form = FORM_ZSTD;
  if (n >= 6 && memcmp(b, "\xfd" "7zXZ", 6) == 0) return fail(why, ERROR_LAYER_INVALID, "it is compressed with xz; layers are gzip, zstd or plain");
  if (n >= 3 && memcmp(b, "BZh", 3) == 0) return fail(why, ERROR_LAYER_INVALID, "it is compressed with bzip2; layers are gzip, zstd or plain");
  if (blob->form != FORM_ZSTD) return true;
  blob->zstd = ZSTD_createDStream();
  if (blob->zstd == NULL || ZSTD_isError(ZSTD_DCtx_setParameter(blob->zstd, ZSTD_d_windowLogMax, WINDOW_LOG))) memory_exhausted();
  return true;
}

static bool inflate_gzip(struct blob *blob, size_t *got, struct failure *why) {
  struct inflate_state *state = &blob->gzip;
  *got = 0;
  while (*got == 0) {
    if (blob->in_at == blob->in_end && blob->left > 0 && !refill(blob, why)) return false;
    if (blob->between) {
      if (blob->in_at == blob->in_end) return true;
      isal_inflate_init(state);
      state->crc_flag = ISAL_GZIP;
      blob->between = false;
    }
    size_t offered = blob->in_end - blob->in_at;
    state->next_in = blob->in + blob->in_at;
    state->avail_in = (uint32_t)offered;
    state->next_out = blob->out;
    state->avail_out = PIECE;
    int status = isal_inflate(state);
    blob->in_at += offered - state->avail_in;
    *got = PIECE - state->avail_out;
    if (status == ISAL_INCORRECT_CHECKSUM) return damaged(why, "gzip", "its checksum is wrong");
    if (status != ISAL_DECOMP_OK) return damaged(why, "gzip", "it is damaged");
    if (state->block_state == ISAL_BLOCK_FINISH) blob->between = true;
    else if (*got == 0 && blob->in_at == blob->in_end && blob->left == 0) return damaged(why, "gzip", "it is cut");
  }
  return true;
}

static bool zstd_fault(size_t status, struct failure *why) {
  ZSTD_ErrorCode code = ZSTD_getErrorCode(status);
  if (code == ZSTD_error_memory_allocation) memory_exhausted();
  if (code == ZSTD_error_frameParameter_windowTooLarge)
    return fail(why, ERROR_LIMIT_EXCEEDED, "its zstd window is larger than %d MiB", 1 << (WINDOW_LOG - 20));
  return damaged(why, "zstd", ZSTD_getErrorName(status));
}

static bool inflate_zstd(struct blob *blob, size_t *got, struct failure *why) {
  *got = 0;
  while (*got == 0) {
    if (blob->in_at == blob->in_end && blob->left > 0 && !refill(blob, why)) return false;
    bool ended = blob->in_at == blob->in_end;
    if (ended && blob->between) return true;
    ZSTD_inBuffer in = {blob->in, blob->in_end, blob->in_at};
    ZSTD_outBuffer out = {blob->out, PIECE, 0};
    size_t status = ZSTD_decompressStream(blob->zstd, &out, &in);
    if (ZSTD_isError(status)) return zstd_fault(status, why);
    blob->in_at = in.pos;
    *got = out.pos;
    blob->between = status == 0;
    if (ended && *got == 0 && !blob->between) return damaged(why, "zstd", "it is cut");
  }
  return true;
}

static bool plain(struct blob *blob, const unsigned char **at, size_t *got, struct failure *why) {
  if (blob->in_at == blob->in_end && !refill(blob, why)) return false;
  *at = blob->in + blob->in_at;
  *got = blob->in_end - blob->in_at;
  blob->in_at = blob->in_end;
  return true;
}

uint64_t blob_most(uint64_t length, uint64_t ratio) {
  uint64_t most = ratio > UINT64_MAX / (length + 1) ? UINT64_MAX : length * ratio;
  return most < UNCHECKED ? UNCHECKED : most;
}

static bool within(const struct blob *blob, struct failure *why) {
  if (blob->inflated > blob->limits.inflated)
    return fail(why, ERROR_LIMIT_EXCEEDED, "it inflates to more than the %llu bytes that are left for it", (unsigned long long)blob->limits.inflated);
  if (blob->inflated > blob_most(blob->length, blob->limits.ratio))
    return fail(why, ERROR_LIMIT_EXCEEDED, "it inflates to more than %llu times its size", (unsigned long long)blob->limits.ratio);
  return true;
}

static bool more(void *from, const unsigned char **at, size_t *length, struct failure *why) {
  struct blob *blob = from;
  if (blob->form == FORM_UNKNOWN && !know_form(blob, why)) return false;
  *at = blob->out;
  bool read = blob->form == FORM_GZIP   ? inflate_gzip(blob, length, why)
              : blob->form == FORM_ZSTD ? inflate_zstd(blob, length, why)
                                        : plain(blob, at, length, why);
  if (!read) return false;
  blob->inflated += *length;
  if (*length > 0 && EVP_DigestUpdate(blob->hash, *at, *length) != 1) memory_exhausted();
  return within(blob, why);
}

struct tar_input blob_input(struct blob *blob) {
  return (struct tar_input){.more = more, .from = blob};
}

bool blob_digest(struct blob *blob, char hex[static SHA256_HEX], struct failure *why) {
  const unsigned char *at;
  size_t length;
  do {
    if (!more(blob, &at, &length, why)) return false;
  } while (length > 0);
  unsigned char digest[EVP_MAX_MD_SIZE];
  if (EVP_DigestFinal_ex(blob->hash, digest, NULL) != 1) memory_exhausted();
  for (size_t i = 0; i < 32; i++) {
    hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
    hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
  }
  hex[64] = '\0';
  return true;
}
