// Everything that both languages read: the vectors of ../formats, and what is too long to be a vector.
#include "tests/testing.h"

#include "check/show.h"
#include "limits.gen.h"
#include "policy/image_facts.h"
#include "policy/path.h"
#include "policy/sha256.h"
#include "policy/superblock.h"

static void references(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(reference_vectors); i++) {
    const struct reference_vector *row = &reference_vectors[i];
    AUTO_REFERENCE reference = {0};
    struct failure why = {0};
    bool accepted = reference_parse(row->input, row->length, row->default_type, &reference, &why);
    check(accepted == row->accept, row->input);
    if (!accepted) {
      check(why.code == ERROR_REFERENCE_INVALID, row->input);
      check(row->hint == NULL || strstr(why.what, row->hint) != NULL, row->input);
      continue;
    }
    check(same_text(image_type_name(reference.type), row->type), row->input);
    check(same_text(reference.reference, row->reference), row->input);
    check(same_text(row->canonical, "*") || same_text(reference.canonical, row->canonical), row->input);
    if (reference.canonical != NULL) check(reference_is_canonical(reference.canonical, strlen(reference.canonical)), row->input);
  }
}

static void run_vectors(const char *kind, const struct vector *rows, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const struct vector *row = &rows[i];
    // A copy without a NUL behind it, so that the sanitizer sees a read past the end.
    char *exact = malloc(row->length == 0 ? 1 : row->length);
    assert_non_null(exact);
    memcpy(exact, row->input, row->length);
    AUTO_BUFFER out = {0};
    int status = show_parsed(&out, kind, exact, row->length, "docker");
    free(exact);
    if (row->accept) {
      if (!same_text(out.at, row->value)) fail_row("%s row %s:\n%s\n%s", kind, row->name, out.at, row->value);
      check(status == 0, row->name);
    } else {
      AUTO_BUFFER wanted = {0};
      buffer_print(&wanted, "{\"error\":{\"code\":\"%s\"", row->code);
      check(strncmp(out.at, wanted.at, wanted.length) == 0, row->name);
      check(status != 0, row->name);
    }
  }
}

static void records(void **state) {
  (void)state;
  run_vectors("record", record_vectors, COUNT_OF(record_vectors));
}

static void names(void **state) {
  (void)state;
  run_vectors("name", name_vectors, COUNT_OF(name_vectors));
}

static void metas(void **state) {
  (void)state;
  run_vectors("meta", meta_vectors, COUNT_OF(meta_vectors));
}

static void roots(void **state) {
  (void)state;
  run_vectors("root", root_vectors, COUNT_OF(root_vectors));
  // What is written is what was read.
  for (size_t i = 0; i < COUNT_OF(root_vectors); i++) {
    AUTO_PREPARED entry = {0};
    AUTO_BUFFER text = {0};
    struct failure why;
    if (!prepared_parse(root_vectors[i].input, root_vectors[i].length, &entry, &why)) continue;
    prepared_write(&entry, &text);
    check(text.length == root_vectors[i].length && memcmp(text.at, root_vectors[i].input, text.length) == 0, root_vectors[i].name);
  }
}

// The first accepted vector without its end, to which fields are added.
static void minimal_record(struct buffer *out) {
  out->length = 0;
  buffer_add(out, record_vectors[0].input, record_vectors[0].length - 4);
}

static bool accepts(struct buffer *text) {
  AUTO_RECORD record = {0};
  struct failure why;
  buffer_text(text, "end\n");
  return record_parse(text->at, text->length, &record, &why);
}

static void repeated(struct buffer *text, const char *field, size_t times) {
  minimal_record(text);
  for (size_t i = 0; i < times; i++) buffer_text(text, field);
}

static void limits(void **state) {
  (void)state;
  AUTO_BUFFER text = {0};
  repeated(&text, "command 1:a\n", LIMIT_FIELD_COUNT - 10);
  assert_true(accepts(&text));
  repeated(&text, "command 1:a\n", LIMIT_FIELD_COUNT - 9);
  assert_false(accepts(&text));
  repeated(&text, "allow-uid 1:5\n", LIMIT_ACL_IDS);
  assert_true(accepts(&text));
  repeated(&text, "allow-uid 1:5\n", LIMIT_ACL_IDS + 1);
  assert_false(accepts(&text));
  repeated(&text, "allow-gid 1:5\n", LIMIT_ACL_IDS + 1);
  assert_false(accepts(&text));
  for (size_t over = 0; over < 2; over++) {
    minimal_record(&text);
    buffer_print(&text, "env %zu:A=", (size_t)LIMIT_ENV_BYTES + over);
    for (size_t i = 2; i < LIMIT_ENV_BYTES + over; i++) buffer_byte(&text, 'x');
    buffer_byte(&text, '\n');
    assert_int_equal(accepts(&text), over == 0);
  }
  for (size_t over = 0; over < 2; over++) {
    minimal_record(&text);
    size_t left = LIMIT_RECORD_BYTES - text.length - strlen("label 1234567:a") - 2 - 4 + over;
    buffer_print(&text, "label %zu:a", left + 2);
    buffer_byte(&text, '\0');
    for (size_t i = 0; i < left; i++) buffer_byte(&text, 'x');
    buffer_byte(&text, '\n');
    assert_int_equal(accepts(&text), over == 0);
  }
}

// Every prefix of a good record, and every single changed byte, is answered without a crash; no prefix is accepted.
static void broken_records(void **state) {
  (void)state;
  const struct vector *row = &record_vectors[1];
  for (size_t length = 0; length < row->length; length++) {
    AUTO_RECORD record = {0};
    struct failure why;
    char *cut = malloc(length == 0 ? 1 : length);
    assert_non_null(cut);
    memcpy(cut, row->input, length);
    assert_false(record_parse(cut, length, &record, &why));
    cut[length / 2] = (char)(cut[length / 2] ^ 0x55);
    assert_false(record_parse(cut, length, &record, &why));
    free(cut);
  }
}

static void words(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(words_cases); i++) {
    AUTO_WORDS parsed = {0};
    bool accepted = meta_words(words_cases[i].input, strlen(words_cases[i].input), &parsed);
    check(accepted == (words_cases[i].items != NULL), words_cases[i].input);
    size_t count = 0;
    while (accepted && words_cases[i].items[count] != NULL) count++;
    if (accepted) check(parsed.count == count, words_cases[i].input);
    for (size_t j = 0; j < count; j++) check(same_text(parsed.items[j], words_cases[i].items[j]), words_cases[i].input);
  }
}

static void id_lists(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(ids_cases); i++) {
    struct ids ids = {0};
    bool accepted = meta_ids(ids_cases[i].input, strlen(ids_cases[i].input), &ids);
    check(accepted == ids_cases[i].accept, ids_cases[i].input);
    if (accepted) check(ids.count == ids_cases[i].count, ids_cases[i].input);
    for (size_t j = 0; accepted && j < ids.count; j++) check(ids.items[j] == ids_cases[i].ids[j], ids_cases[i].input);
    ids_free(&ids);
  }
}

static struct ids list(const uint32_t *items, size_t count) {
  struct ids ids = {0};
  for (size_t i = 0; i < count; i++) ids_add(&ids, items[i]);
  return ids;
}

static void access_rows(void **state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(access_cases); i++) {
    const struct access_case *row = &access_cases[i];
    struct meta meta = {.user_acl = list(row->uids, row->uid_count), .group_acl = list(row->gids, row->gid_count)};
    struct identity who = {row->uid, row->gid, list(row->groups, row->group_count)};
    assert_int_equal(meta_allows(&meta, &who), row->allow);
    meta_free(&meta);
    identity_free(&who);
  }
}

static void private_records(void **state) {
  (void)state;
  struct identity who = {1000, 100, {0}};
  ids_add(&who.groups, 7);
  struct record record = {.is_private = true, .owner = 5};
  assert_false(record_allows(&record, &who));
  record.owner = 1000;
  assert_true(record_allows(&record, &who));
  record.owner = 5;
  ids_add(&record.allow_gids, 7);
  assert_true(record_allows(&record, &who));
  record.allow_gids.items[0] = 1000; // a uid is no gid
  assert_false(record_allows(&record, &who));
  ids_add(&record.allow_uids, 100);
  assert_false(record_allows(&record, &who));
  record.is_private = false;
  assert_true(record_allows(&record, &who));
  record_free(&record);
  identity_free(&who);
}

static void hashes(void **state) {
  (void)state;
  static const struct {
    const char *text, *hex;
  } rows[] = {{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
              {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
              {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
              {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
               "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"}};
  char hex[SHA256_HEX];
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    sha256_hex(rows[i].text, strlen(rows[i].text), hex);
    assert_string_equal(hex, rows[i].hex);
  }
  char *million = malloc(1000000);
  assert_non_null(million);
  memset(million, 'a', 1000000);
  sha256_hex(million, 1000000, hex);
  assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  free(million);
}

static void put_little(unsigned char *at, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) at[i] = (unsigned char)(value >> (8 * i));
}

static void good_superblock(unsigned char *block) {
  memset(block, 0, SUPERBLOCK_BYTES);
  memcpy(block, "hsqs", 4);
  put_little(block + 12, 131072, 4);
  put_little(block + 20, 6, 2);
  put_little(block + 22, 17, 2);
  put_little(block + 28, 4, 2);
  put_little(block + 40, 4000, 8);
  for (size_t at = 48; at < 96; at += 8) put_little(block + at, at == 56 || at == 88 ? UINT64_MAX : 1000, 8);
}

static void superblocks(void **state) {
  (void)state;
  static const struct {
    size_t at, bytes;
    uint64_t value;
  } breaks[] = {{0, 4, 0x71736873}, {28, 2, 3},       {28, 2, 5},    {30, 2, 1},          {12, 4, 65536},       {12, 4, 0}, {22, 2, 30},
                {22, 2, 11},        {20, 2, 0},       {20, 2, 7},    {40, 8, 4097},       {40, 8, 95},          {40, 8, UINT64_MAX},
                {48, 8, 5000},      {48, 8, UINT64_MAX}, {64, 8, 10}, {72, 8, UINT64_MAX}, {80, 8, 1ULL << 63}};
  unsigned char block[SUPERBLOCK_BYTES];
  struct failure why;
  good_superblock(block);
  assert_true(superblock_check(block, 4096, &why));
  assert_false(superblock_check(block, 3999, &why));
  for (size_t i = 0; i < COUNT_OF(breaks); i++) {
    good_superblock(block);
    put_little(block + breaks[i].at, breaks[i].value, breaks[i].bytes);
    assert_false(superblock_check(block, 4096, &why));
    assert_int_equal(why.code, ERROR_IMAGE_CORRUPT);
  }
}

static void paths(void **state) {
  (void)state;
  assert_true(path_is_within("/scratch/a", "/scratch"));
  assert_true(path_is_within("/scratch", "/scratch"));
  assert_false(path_is_within("/scratch2", "/scratch"));
  assert_false(path_is_within("/scratch", "/scratch/a"));
  assert_true(path_is_within("/a", "/"));
  static const char *const rows[][2] = {{"/", "/"}, {"//a//b/", "/a/b"}, {"/./a/.", "/a"}, {"/a..b/...", "/a..b/..."}, {"/.", "/"}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    AUTO_FREE char *clean = path_clean(rows[i][0], strlen(rows[i][0]));
    assert_string_equal(clean, rows[i][1]);
  }
  assert_true(path_has_parent("/a/..", 5));
  assert_true(path_has_parent("..", 2));
  assert_false(path_has_parent("/a..b/...", 9));
}

static void messages(void **state) {
  (void)state;
  AUTO_BUFFER line = {0};
  struct failure why = {.code = ERROR_USAGE, .what = "a\nb\x1b[1m"};
  failure_line(&why, "shifter", &line);
  assert_string_equal(line.at, "shifter: USAGE: a\\x0ab\\x1b[1m. See --help.\n");
  for (size_t i = 0; i < ERROR_COUNT; i++) {
    assert_non_null(error_texts[i].name);
    assert_true(error_texts[i].exit > 0 && error_texts[i].exit < 256);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(references), cmocka_unit_test(records),     cmocka_unit_test(names),           cmocka_unit_test(metas), cmocka_unit_test(roots),
      cmocka_unit_test(limits),     cmocka_unit_test(broken_records), cmocka_unit_test(words),        cmocka_unit_test(id_lists),
      cmocka_unit_test(access_rows), cmocka_unit_test(private_records), cmocka_unit_test(hashes),     cmocka_unit_test(superblocks),
      cmocka_unit_test(paths),      cmocka_unit_test(messages)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
