#include "policy/reference.h"

#include <stdlib.h>
#include <string.h>

#include "limits.gen.h"
#include "policy/path.h"

// The C library's character classes depend on a locale; these do not.
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
static bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
static bool is_alnum(char c) { return is_digit(c) || is_lower(c) || is_upper(c); }

static bool word_is(const char *at, size_t length, const char *first_extra, const char *extra) {
  if (length < 1 || length > 128) return false;
  if (!is_alnum(at[0]) && (at[0] == '\0' || strchr(first_extra, at[0]) == NULL)) return false;
  for (size_t i = 1; i < length; i++)
    if (!is_alnum(at[i]) && (at[i] == '\0' || strchr(extra, at[i]) == NULL)) return false;
  return true;
}

static bool is_tag(const char *at, size_t length) {
  return word_is(at, length, "_", "_.-");
}

bool image_id_is_valid(const char *at, size_t length) {
  return word_is(at, length, "", "_.+-");
}

static bool is_host_label(const char *at, size_t length) {
  if (length == 0 || at[0] == '-' || at[length - 1] == '-') return false;
  for (size_t i = 0; i < length; i++)
    if (!is_alnum(at[i]) && at[i] != '-') return false;
  return true;
}

static bool is_host(const char *at, size_t length) {
  size_t size = 0;
  uint64_t port;
  const char *digits = text_cut(at, &length, ':', &size);
  if (digits != NULL && (!number_parse(digits, size, 65535, false, &port) || port == 0)) return false;
  for (struct part label = parts_of(at, length); part_next(&label, '.');)
    if (!is_host_label(label.at, label.length)) return false;
  return true;
}

// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*
static bool is_path_component(const char *at, size_t length) {
  size_t i = 0;
  for (;;) {
    size_t start = i;
    while (i < length && (is_digit(at[i]) || is_lower(at[i]))) i++;
    if (i == start) return false;
    if (i == length) return true;
    if (at[i] == '.') {
      i++;
    } else if (at[i] == '_') {
      i += i + 1 < length && at[i + 1] == '_' ? 2 : 1;
    } else if (at[i] == '-') {
      while (i < length && at[i] == '-') i++;
    } else {
      return false;
    }
  }
}

static bool is_repository(const char *at, size_t length) {
  for (struct part part = parts_of(at, length); part_next(&part, '/');)
    if (!is_path_component(part.at, part.length)) return false;
  return true;
}

bool hash_is_valid(const char *at, size_t length) {
  if (length != 64) return false;
  for (size_t i = 0; i < length; i++)
    if (!is_digit(at[i]) && (at[i] < 'a' || at[i] > 'f')) return false;
  return true;
}

bool digest_is_valid(const char *at, size_t length) {
  return length == 71 && memcmp(at, "sha256:", 7) == 0 && hash_is_valid(at + 7, length - 7);
}

static void add_host(struct buffer *out, const char *at, size_t length) {
  size_t start = out->length;
  for (size_t i = 0; i < length; i++) buffer_byte(out, is_upper(at[i]) ? (char)(at[i] - 'A' + 'a') : at[i]);
  const char *host = out->at + start;
  if (strcmp(host, "index.docker.io") != 0 && strcmp(host, "registry-1.docker.io") != 0) return;
  out->length = start;
  buffer_text(out, "docker.io");
}

// [HOST[:PORT]/]PATH[:TAG][@sha256:HEX]
static bool docker_canonical(const char *at, size_t length, struct buffer *out) {
  const char *host = "docker.io";
  size_t host_length = strlen(host);
  const char *slash = memchr(at, '/', length);
  if (slash != NULL) {
    size_t first = (size_t)(slash - at);
    if (memchr(at, '.', first) != NULL || memchr(at, ':', first) != NULL || text_is(at, first, "localhost")) {
      if (!is_host(at, first)) return false;
      host = at, host_length = first;
      at += first + 1, length -= first + 1;
    }
  }
  size_t digest_length = 0, tag_length = 0;
  const char *digest = text_cut(at, &length, '@', &digest_length);
  if (digest != NULL && !digest_is_valid(digest, digest_length)) return false;
  const char *tag = text_cut(at, &length, ':', &tag_length);
  if (tag != NULL && !is_tag(tag, tag_length)) return false;
  if (!is_repository(at, length)) return false;

  size_t start = out->length;
  add_host(out, host, host_length);
  bool hub = strcmp(out->at + start, "docker.io") == 0;
  buffer_byte(out, '/');
  size_t repository = out->length;
  if (hub && memchr(at, '/', length) == NULL) buffer_text(out, "library/");
  buffer_add(out, at, length);
  if (out->length - repository > 255) return false;
  buffer_byte(out, digest != NULL ? '@' : ':');
  if (digest != NULL)
    buffer_add(out, digest, digest_length);
  else if (tag != NULL)
    buffer_add(out, tag, tag_length);
  else
    buffer_text(out, "latest");
  return true;
}

static bool custom_canonical(const char *at, size_t length, struct buffer *out) {
  const char *colon = memchr(at, ':', length);
  size_t name = colon == NULL ? length : (size_t)(colon - at);
  if (!image_id_is_valid(at, name)) return false;
  if (colon != NULL && !image_id_is_valid(colon + 1, length - name - 1)) return false;
  buffer_add(out, at, length);
  if (colon == NULL) buffer_text(out, ":latest");
  return true;
}

static bool local_canonical(const char *at, size_t length, struct buffer *out) {
  if (!path_is_absolute(at, length) || path_has_parent(at, length)) return false;
  for (size_t i = 0; i < length; i++)
    if (!is_alnum(at[i]) && (at[i] == '\0' || strchr("_:.+@/-", at[i]) == NULL)) return false;
  AUTO_FREE char *clean = path_clean(at, length);
  buffer_text(out, clean);
  return true;
}

static bool id_canonical(const char *at, size_t length, struct buffer *out) {
  buffer_add(out, at, length);
  return image_id_is_valid(at, length);
}

static bool chos_canonical(const char *at, size_t length, struct buffer *out) {
  buffer_add(out, at, length);
  return length > 0 && !has_control(at, length);
}

// A relative path means something only to who said it, so it has no canonical form.
static bool path_canonical(const char *at, size_t length, struct buffer *out) {
  AUTO_FREE char *clean = path_clean(at, length);
  if (path_is_absolute(at, length) && !path_has_parent(at, length))
    buffer_text(out, clean);
  else
    out->length = 0;
  return length > 0 && !has_control(at, length);
}

// A disk that was imported has a name, one that is a file a path.
static bool vm_canonical(const char *at, size_t length, struct buffer *out) {
  return memchr(at, '/', length) == NULL ? custom_canonical(at, length, out) : path_canonical(at, length, out);
}

// The length of PATH in PATH or PATH:TAG.
static size_t path_of_tagged(const char *at, size_t length) {
  const char *colon = memrchr(at, ':', length);
  return colon != NULL && is_tag(colon + 1, length - (size_t)(colon - at) - 1) ? (size_t)(colon - at) : length;
}

static bool tagged_canonical(const char *at, size_t length, struct buffer *out) {
  size_t path = path_of_tagged(at, length), before = out->length;
  if (!path_canonical(at, path, out)) return false;
  if (out->length == 0) return !has_control(at, length);
  // A path that would be taken apart itself keeps a '/' behind it.
  if (path == length && path_of_tagged(out->at + before, out->length - before) < out->length - before) buffer_byte(out, '/');
  buffer_add(out, at + path, length - path);
  return true;
}

// How each type is called, and what its canonical form is; an empty one where there is none here.
static const struct {
  const char *name;
  bool (*canonical)(const char *at, size_t length, struct buffer *out);
} types[IMAGE_TYPE_COUNT] = {
    [IMAGE_DOCKER] = {"docker", docker_canonical},
    [IMAGE_ID] = {"id", id_canonical},
    [IMAGE_LOCAL] = {"local", local_canonical},
    [IMAGE_CUSTOM] = {"custom", custom_canonical},
    [IMAGE_OCI] = {"oci", tagged_canonical},
    [IMAGE_OCI_ARCHIVE] = {"oci-archive", tagged_canonical},
    [IMAGE_DOCKER_ARCHIVE] = {"docker-archive", tagged_canonical},
    [IMAGE_DOCKER_DAEMON] = {"docker-daemon", docker_canonical},
    [IMAGE_VM] = {"vm", vm_canonical},
    [IMAGE_CHOS] = {"chos", chos_canonical},
};

const char *image_type_name(enum image_type type) {
  return types[type].name;
}

bool image_type_parse(const char *at, size_t length, enum image_type *type) {
  for (size_t i = 0; i < IMAGE_TYPE_COUNT; i++) {
    if (!text_is(at, length, types[i].name)) continue;
    *type = (enum image_type)i;
    return true;
  }
  return false;
}

// "docker://debian:12" and "https://host/x" are what people write elsewhere; the length of what is before and including "//", or 0.
static size_t url_prefix(const char *at, size_t length) {
  size_t i = 0;
  while (i < length && (is_lower(at[i]) || is_digit(at[i]))) i++;
  if (i > 0 && i < length && at[i] == ':') i++;
  return length - i > 2 && (i == 0 || at[i - 1] == ':') && memcmp(at + i, "//", 2) == 0 ? i + 2 : 0;
}

static bool invalid(enum image_type type, const char *whole, size_t whole_length, const char *at, size_t length, struct failure *why) {
  const char *name = image_type_name(type);
  size_t prefix = type == IMAGE_DOCKER || type == IMAGE_DOCKER_DAEMON ? url_prefix(at, length) : 0;
  if (prefix == 0) return fail(why, ERROR_REFERENCE_INVALID, "'%.*s' does not follow the grammar of type %s", (int)whole_length, whole, name);
  return fail(why, ERROR_REFERENCE_INVALID, "'%.*s' is not valid: write %s:%.*s, without %.*s", (int)whole_length, whole, name, (int)(length - prefix),
              at + prefix, (int)prefix, at);
}

static bool too_long(struct failure *why) {
  return fail(why, ERROR_REFERENCE_INVALID, "the image reference is longer than %d bytes", LIMIT_IMAGE_REFERENCE_BYTES);
}

bool reference_parse(const char *at, size_t length, const char *default_type, struct image_reference *out, struct failure *why) {
  if (length == 0) return fail(why, ERROR_REFERENCE_INVALID, "the image reference is empty");
  if (length > LIMIT_IMAGE_REFERENCE_BYTES) return too_long(why);
  enum image_type type = IMAGE_DOCKER;
  const char *reference = at;
  size_t reference_length = length;
  const char *colon = memchr(at, ':', length);
  if (colon != NULL && image_type_parse(at, (size_t)(colon - at), &type)) {
    reference = colon + 1;
    reference_length = length - (size_t)(reference - at);
  } else if (default_type == NULL || !image_type_parse(default_type, strlen(default_type), &type)) {
    return fail(why, ERROR_REFERENCE_INVALID, "'%.*s' names no type and there is no usable default type", (int)length, at);
  }
  AUTO_BUFFER canonical = {0};
  buffer_text(&canonical, image_type_name(type));
  buffer_byte(&canonical, ':');
  if (!types[type].canonical(reference, reference_length, &canonical)) return invalid(type, at, length, reference, reference_length, why);
  // Names and records hold it, and are read with the same limit.
  if (canonical.length > LIMIT_IMAGE_REFERENCE_BYTES) return too_long(why);
  *out = (struct image_reference){.type = type, .reference = memory_copy(reference, reference_length)};
  if (canonical.length > 0) out->canonical = steal(&canonical.at);
  return true;
}

bool reference_is_canonical(const char *at, size_t length) {
  AUTO_REFERENCE reference = {0};
  struct failure ignored;
  if (!reference_parse(at, length, NULL, &reference, &ignored)) return false;
  return reference.canonical != NULL && text_is(at, length, reference.canonical);
}

void reference_free(struct image_reference *reference) {
  free(reference->reference);
  free(reference->canonical);
  *reference = (struct image_reference){0};
}
