// Names, plans, the merger's rules one by one, and the writer.
#include "tests/archive.h"

#include "limits.gen.h"
#include "merge/merger.h"
#include "merge/policy.h"
#include "merge/table.h"

#define KEY 42

// --- names ---------------------------------------------------------------------------------------------------------------------

static void path_names(void **state) {
  (void)state;
  const struct {
    const char *name, *clean; // NULL: refused
    const char *what;
  } rows[] = {{"a", "a", NULL}, {"./a//b/./c/", "a/b/c", NULL}, {"", "", NULL}, {".", "", NULL}, {"/", "", NULL}, {"//.//", "", NULL}, {"a..b", "a..b", NULL},
    {"...", "...", NULL}, {"..a/a..", "..a/a..", NULL}, {"a/../b", NULL, "'..'"}, {"..", NULL, "'..'"}, {"a/..", NULL, "'..'"}, {"/a", NULL, "absolute"},
    {"//a", NULL, "absolute"}, {"/../a", NULL, "'..'"}, {"a/b/c/d/e", NULL, "more than 4 components"}, {"1234567890/1234567890/1", NULL, "longer than 20"}};
  const struct path_limits limits = {4, 20, 100};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    CLEANUP(path_free) struct path path = {0};
    struct failure why = {0};
    const struct tar_entry entry = {.name = rows[i].name, .name_length = strlen(rows[i].name)};
    bool read = path_read(&path, entry.name, entry.name_length, &limits, &entry, "its name", &why);
    check(read == (rows[i].clean != NULL), rows[i].name);
    if (read) check(path.text.length == strlen(rows[i].clean) && memcmp(path.text.length == 0 ? "" : path.text.at, rows[i].clean, path.text.length) == 0, rows[i].name);
    else check(strstr(why.what, rows[i].what) != NULL && strstr(why.what, rows[i].name) != NULL, rows[i].name);
    if (!read) check((why.code == ERROR_LIMIT_EXCEEDED) == (strstr(why.what, "than") != NULL), rows[i].name);
  }
}

static void component_length(void **state) {
  (void)state;
  char name[300];
  memset(name, 'n', sizeof name);
  const struct path_limits limits = {4, 4095, 100};
  for (size_t length = 250; length < 260; length++) {
    CLEANUP(path_free) struct path path = {0};
    struct failure why = {0};
    const struct tar_entry entry = {.name = name, .name_length = length};
    assert_true(path_read(&path, name, length, &limits, &entry, "its name", &why) == (length <= 255));
  }
}

static void whiteout_names(void **state) {
  (void)state;
  const struct {
    const char *name;
    int said; // -1: refused
  } rows[] = {{"a", WHITEOUT_NONE}, {".wh", WHITEOUT_NONE}, {".whx", WHITEOUT_NONE}, {"x.wh.a", WHITEOUT_NONE}, {".wh.a", WHITEOUT_FILE}, {"d/.wh.a", WHITEOUT_FILE},
    {".wh....", WHITEOUT_FILE}, {".wh. ", WHITEOUT_FILE}, {".wh..wh.", WHITEOUT_METADATA}, {".wh..a", WHITEOUT_FILE}, {".wh..wh..opq", WHITEOUT_OPAQUE},
    {"d/.wh..wh..opq", WHITEOUT_OPAQUE}, {".wh..wh..opqx", WHITEOUT_METADATA}, {".wh..wh.plnk/1.2", WHITEOUT_METADATA}, {".wh..wh.x", WHITEOUT_METADATA},
    {".wh.", -1}, {".wh..", -1}, {".wh...", -1}, {"d/.wh.", -1}, {".wh.a/b", -1}, {"d/.wh.a/b/c", -1}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    CLEANUP(path_free) struct path path = {0};
    struct failure why = {0};
    enum whiteout whiteout;
    path_set(&path, rows[i].name, strlen(rows[i].name));
    bool read = path_whiteout(&path, &whiteout, &why);
    check(read == (rows[i].said >= 0), rows[i].name);
    if (read) check((int)whiteout == rows[i].said, rows[i].name);
  }
}

// --- layers in words ---------------------------------------------------------------------------------------------------------------

// NAME a file of its own name, NAME=CONTENT, NAME/ a directory, NAME>TARGET a hard link, NAME@TARGET a symbolic link, NAME! a device.
static void layer_of(const char *words, struct buffer *out) {
  AUTO_WORDS list = {0};
  words_add_split(&list, words, " ");
  buffer_text(out, "");
  for (size_t i = 0; i < list.count; i++) {
    char *word = list.items[i], *mark = strpbrk(word, "=>@!");
    size_t length = strlen(word);
    if (mark == NULL && word[length - 1] == '/') {
      tar_header(out, '5', word, "", 0);
    } else if (mark == NULL) {
      tar_file(out, word, word);
    } else {
      char kind = *mark;
      *mark = '\0';
      if (kind == '=') tar_file(out, word, mark + 1);
      else tar_header(out, kind == '>' ? '1' : kind == '@' ? '2' : '3', word, mark + 1, 0);
    }
  }
  tar_end(out);
}

static bool append(void *to, const void *at, size_t length) {
  buffer_add(to, at, length);
  return true;
}

// Back into words, in the order in which they were written.
static void in_words(const struct buffer *archive, struct buffer *out) {
  struct pieces pieces = {archive->at, archive->length, 1 << 20, NULL};
  struct tar_reader *reader = tar_open((struct tar_input){pieces_more, &pieces});
  struct failure why = {0};
  const struct tar_entry *entry;
  enum tar_step step;
  while ((step = tar_next(reader, &entry, &why)) == TAR_ENTRY) {
    buffer_print(out, "%s%s", out->length == 0 ? "" : " ", entry->name);
    if (entry->type == TAR_LINK || entry->type == TAR_SYMLINK) buffer_print(out, "%c%s", entry->type == TAR_LINK ? '>' : '@', entry->link);
    const unsigned char *at;
    uint64_t length;
    AUTO_BUFFER content = {0};
    while (tar_content(reader, &at, &length, &why) && length > 0) buffer_add(&content, at, (size_t)length);
    if (content.length > 0 && strcmp(content.at, entry->name) != 0) buffer_print(out, "=%s", content.at);
  }
  assert_int_equal(step, TAR_END);
  tar_close(&reader);
  free(pieces.copy);
}

static const struct merge_limits wide = {{64, 4095, 1000000}, 1000000, 1 << 30, 1000000, 1 << 30};

static enum merge_result merge(const char *const *layers, bool planned, const struct merge_limits *limits, struct buffer *out, struct merge_summary *summary,
  int *fault_layer, struct failure *why) {
  int count = 0;
  while (layers[count] != NULL) count++;
  struct writer *writer = writer_open((struct writer_output){append, out});
  struct merger *merger = merger_open(limits, writer, KEY);
  enum merge_result result = MERGE_OK;
  *fault_layer = -1;
  for (int i = count - 1; i >= 0 && result == MERGE_OK; i--) {
    AUTO_BUFFER layer = {0};
    layer_of(layers[i], &layer);
    struct pieces pieces = {layer.at, layer.length, 1 << 20, NULL}, ahead = pieces;
    struct plan *plan = NULL;
    *fault_layer = i;
    if (planned && (plan = plan_make((struct tar_input){pieces_more, &ahead}, &limits->path, KEY, why)) == NULL) result = MERGE_FAULT;
    if (result == MERGE_OK) {
      result = merger_layer(merger, i, limits->bytes, plan, (struct tar_input){pieces_more, &pieces}, why);
      *fault_layer = merger_fault_layer(merger);
    }
    plan_free(&plan);
    free(ahead.copy);
    free(pieces.copy);
  }
  if (result == MERGE_OK) result = merger_end(merger, summary);
  merger_close(&merger);
  writer_close(&writer);
  return result;
}

static void show_merge(const char *const *layers, bool planned, const struct merge_limits *limits, struct buffer *out, struct merge_summary *summary) {
  AUTO_BUFFER archive = {0};
  struct failure why = {0};
  int fault_layer;
  buffer_text(out, "");
  switch (merge(layers, planned, limits, &archive, summary, &fault_layer, &why)) {
    case MERGE_OK: in_words(&archive, out); break;
    case MERGE_FAULT: buffer_print(out, "%d %s %s", fault_layer, error_name(why.code), why.what); break;
    case MERGE_PLAN_NEEDED: buffer_text(out, "plan"); break;
    case MERGE_OUTPUT_ENDED: buffer_text(out, "ended"); break;
  }
}

#define LAYERS(...) {__VA_ARGS__, NULL}
struct rule {
  const char *name;
  const char *layers[6]; // oldest first
  const char *merged;    // what comes out, or LAYER CODE and a part of the fault
  bool plan;             // needs one
  unsigned inodes, dropped;
};

static int by_text(const void *one, const void *other) {
  return strcmp(*(char *const *)one, *(char *const *)other);
}

static void sort_words(const struct buffer *in, struct buffer *out) {
  AUTO_WORDS list = {0};
  words_add_split(&list, in->at, " ");
  if (list.count > 0) qsort(list.items, list.count, sizeof *list.items, by_text);
  buffer_text(out, "");
  for (size_t i = 0; i < list.count; i++) buffer_print(out, "%s%s", i == 0 ? "" : " ", list.items[i]);
}

static void run_rules(const struct rule *rules, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const struct rule *rule = &rules[i];
    AUTO_BUFFER plain = {0}, planned = {0};
    struct merge_summary summary = {0};
    show_merge(rule->layers, false, &wide, &plain, &summary);
    if ((strcmp(plain.at, "plan") == 0) != rule->plan) fail_row("%s: %s", rule->name, plain.at);
    if (rule->plan) {
      plain.length = 0;
      show_merge(rule->layers, true, &wide, &plain, &summary);
    }
    bool refused = rule->merged[0] >= '0' && rule->merged[0] <= '9';
    bool same = refused ? strstr(plain.at, rule->merged) == plain.at : strcmp(plain.at, rule->merged) == 0;
    if (!same) fail_row("%s:\n%s\ninstead of\n%s", rule->name, plain.at, rule->merged);
    if (refused) continue;
    if (summary.inodes != rule->inodes || summary.dropped != rule->dropped)
      fail_row("%s: %llu inodes, %llu dropped", rule->name, (unsigned long long)summary.inodes, (unsigned long long)summary.dropped);
    // With plans the tree is the same.
    struct merge_summary other = {0};
    show_merge(rule->layers, true, &wide, &planned, &other);
    AUTO_BUFFER one = {0}, two = {0};
    sort_words(&plain, &one);
    sort_words(&planned, &two);
    if (strcmp(one.at, two.at) != 0 || other.inodes != summary.inodes || other.dropped != summary.dropped) fail_row("%s, planned: %s", rule->name, planned.at);
  }
}

static void rules(void **state) {
  (void)state;
  const struct rule rows[] = {
    {"nothing", LAYERS(""), "", .inodes = 1},
    {"one layer as it is", LAYERS("d/ d/f s@d/f g>d/f"), "d/ d/f s@d/f g>d/f", .inodes = 4},
    {"newer first", LAYERS("a=1 b", "a=2"), "a=2 b", .inodes = 3},
    {"whiteout", LAYERS("d/ d/f d/g", "d/.wh.f"), "d/ d/g", .inodes = 3},
    {"whiteout of a directory", LAYERS("d/ d/f", ".wh.d", "e"), "e", .inodes = 2},
    {"whiteout spares its own layer, before", LAYERS("f=1", "f=2 .wh.f"), "f=2", .inodes = 2},
    {"whiteout spares its own layer, after", LAYERS("f=1", ".wh.f f=2"), "f=2", .inodes = 2},
    {"whiteout spares newer layers", LAYERS("f=1", ".wh.f", "f=3"), "f=3", .inodes = 2},
    {"whiteout of what is not there", LAYERS("f", ".wh.g"), "f", .inodes = 2},
    {"whiteout makes no directory", LAYERS("f", "d/.wh.g"), "f", .inodes = 2},
    {"whiteout as a link, directory or device", LAYERS("a b c d", ".wh.a>x .wh.b/ .wh.c@x .wh.d!"), "", .inodes = 1},
    {"opaque before and after", LAYERS("d/ d/1 d/2", "d/a d/.wh..wh..opq d/b"), "d/a d/b d/", .inodes = 4},
    {"opaque root", LAYERS("a b", ".wh..wh..opq c"), "c", .inodes = 2},
    {"opaque hides what a lower one implies", LAYERS("d/e/f", "d/.wh..wh..opq"), "d/", .inodes = 2},
    {"AUFS", LAYERS(".wh..wh.plnk/ .wh..wh.plnk/1.2 .wh..wh.aufs f"), "f", .inodes = 2},
    {"file over directory", LAYERS("d/ d/f", "d"), "d", .inodes = 2},
    {"directory over file", LAYERS("d", "d/ d/f"), "d/ d/f", .inodes = 3},
    {"implied directory over symbolic link", LAYERS("t/ d@t", "d/f"), "d/f t/ d/", .inodes = 4},
    {"attributes of the newest that states it", LAYERS("d/ d/f", "d/g"), "d/g d/ d/f", .inodes = 4},
    {"file between", LAYERS("a/x", "a", "a/y"), "a/y a/", .inodes = 3},
    {"device dropped, hides", LAYERS("n n2/ n2/x", "n! n2!"), "", .inodes = 1, .dropped = 2},
    {"link to a device", LAYERS("n! m>n"), "", .inodes = 1, .dropped = 1},
    {"link to a device of a lower layer", LAYERS("n!", "m>n"), "", .inodes = 1, .dropped = 1},
    {"link to a lower file", LAYERS("f", "g>f h>g"), "f g>f h>f", .inodes = 2},
    {"link to a lower file that is replaced", LAYERS("f=1", "g>f", "f=3"), "f=3 g=1", .inodes = 3},
    {"link to a lower file that is removed", LAYERS("f=1", "g>f h>f", ".wh.f"), "g=1 h>g", .inodes = 2},
    {"link over layers", LAYERS("f=1", "g>f", "h>g"), "f=1 g>f h>f", .inodes = 2},
    {"link to a symbolic link", LAYERS("s@t g>s", "h>s"), "s@t h>s g>s", .inodes = 2},
    {"links from two layers to one", LAYERS("f=1", "g>f", "h>f"), "f=1 g>f h>f", .inodes = 2},
    {"link, then its target replaced in the layer", LAYERS("f=1", "g>f f=2"), "f=2 g=1", .inodes = 3},
    {"link, then its target removed in the layer", LAYERS("f=1", "g>f .wh.f"), "g=1", .inodes = 2},
    {"link to a replaced name of its layer", LAYERS("f=1 g>f f=2"), "g=1 f=2", true, .inodes = 3},
    {"link to a hidden file of its layer", LAYERS("f=1 g>f", "f=2"), "f=2 g=1", true, .inodes = 3},
    {"link to a file below a hidden name", LAYERS("d/f=1 g>d/f", ".wh.d"), "g=1", true, .inodes = 2},
    {"link to a file below a hidden name, where a newer layer has one too", LAYERS("d/f=1 g>d/f", "d/f=2 d/.wh..wh..opq"), "d/f=2 g=1 d/", true, .inodes = 4},
    {"the last statement counts", LAYERS("f=1 d/ d/x f=2 d@f"), "f=2 d@f", true, .inodes = 3},
    {"a directory twice", LAYERS("d/ d/x d/"), "d/x d/", true, .inodes = 3},
    {"the root twice", LAYERS("./ f ./"), "f ./", true, .inodes = 2},
    {"file, then directory of a layer", LAYERS("d d/ d/x"), "d/ d/x", true, .inodes = 3},
    {"absolute", LAYERS("/f"), "0 LAYER_INVALID entry \"/f\": its name is absolute"},
    {"dots", LAYERS("a", "b/../f"), "1 LAYER_INVALID entry \"b/../f\": its name has a '..'"},
    {"root as a file", LAYERS("./=x"), "0 LAYER_INVALID entry \"./\": it is a regular file, but its name ends"},
    {"root as a symbolic link", LAYERS(".@/"), "0 LAYER_INVALID entry \".\": the root is stated as a symbolic link"},
    {"through a symbolic link", LAYERS("d@/etc d/x"), "0 LAYER_INVALID entry \"d/x\": it lies below \"d\", which this layer makes a symbolic link"},
    {"through a device", LAYERS("d! d/x"), "0 LAYER_INVALID entry \"d/x\": it lies below \"d\""},
    {"whiteout through a file", LAYERS("d d/.wh.x"), "0 LAYER_INVALID entry \"d/.wh.x\": it lies below \"d\""},
    {"opaque mark through a file", LAYERS("d d/.wh..wh..opq"), "0 LAYER_INVALID entry \"d/.wh..wh..opq\": it lies below \"d\""},
    {"link to itself", LAYERS("f>f"), "0 LAYER_INVALID entry \"f\": it is a hard link to itself"},
    {"link to itself, spelt otherwise", LAYERS("f>./f"), "0 LAYER_INVALID entry \"f\": it is a hard link to itself"},
    {"links in a circle", LAYERS("f>g g>f"), "0 LAYER_INVALID entry \"f\": it is a hard link to \"g\", which is not there"},
    {"link to nothing", LAYERS("a", "g>f", "b"), "1 LAYER_INVALID entry \"g\": it is a hard link to \"f\", which is not there"},
    {"link to a directory", LAYERS("d/ g>d"), "0 LAYER_INVALID entry \"g\": it is a hard link to a directory"},
    {"link to a lower directory", LAYERS("d/", "g>d"), "0 LAYER_INVALID entry \"d\": a newer layer has a hard link to this directory"},
    {"link to the root", LAYERS("g>."), "0 LAYER_INVALID entry \"g\": it is a hard link to a directory"},
    {"link to an absolute name", LAYERS("f g>/f"), "0 LAYER_INVALID entry \"g\": the target of this hard link is absolute"},
    {"link out", LAYERS("g>../f"), "0 LAYER_INVALID entry \"g\": the target of this hard link has a '..'"},
    {"link to what was removed between", LAYERS("f", ".wh.f", "g>f"), "2 LAYER_INVALID entry \"g\": it is a hard link to \"f\", which is not there"},
    {"link to what was removed above it", LAYERS("d/ d/f", ".wh.d", "g>d/f"), "2 LAYER_INVALID entry \"g\""},
    {"link to what an opaque mark removed", LAYERS("d/ d/f", "d/.wh..wh..opq", "g>d/f"), "2 LAYER_INVALID entry \"g\""},
    {"link to what an opaque root removed", LAYERS("f", ".wh..wh..opq", "g>f"), "2 LAYER_INVALID entry \"g\""},
    {"link to what a file replaced between", LAYERS("d/ d/f", "d", "g>d/f"), "2 LAYER_INVALID entry \"g\""},
    {"link to what its layer removed before", LAYERS("f", ".wh.f g>f"), "1 LAYER_INVALID entry \"g\""},
    {"link to what is stated anew between", LAYERS("f=1", ".wh.f f=2", "g>f"), "f=2 g>f", .inodes = 2},
    {"removed below the target's layer only", LAYERS("f=0", ".wh.f", "f=2", "g>f"), "f=2 g>f", .inodes = 2},
    {"removed above the link only", LAYERS("f=0", "g>f", ".wh.f", "h"), "h g=0", .inodes = 3},
    {"two links, one of them over a removal", LAYERS("f=0", "g>f", ".wh.f", "h>f"), "3 LAYER_INVALID entry \"h\""},
    {"link through a symbolic link", LAYERS("d/ d/f s@d g>s/f"), "0 LAYER_INVALID entry \"g\": it is a hard link to \"s/f\", which is not there"},
    {"symbolic link to nothing", LAYERS("s@"), "0 LAYER_INVALID entry \"s\": it is a symbolic link to nothing"},
    {"whiteout of nothing", LAYERS("d/.wh."), "0 LAYER_INVALID entry \"d/.wh.\": this whiteout names nothing"},
  };
  run_rules(rows, COUNT_OF(rows));
}

static void limits(void **state) {
  (void)state;
  const struct {
    const char *name, *layers[5], *shown;
    struct merge_limits limits;
  } rows[] = {
    {"entries", LAYERS("a b", "c"), "0 LIMIT_EXCEEDED entry \"b\": with it the image has more than 2 entries", {{9, 99, 99}, 2, 99, 99, 99}},
    {"bytes", LAYERS("a=12345", "b=12345"), "0 LIMIT_EXCEEDED entry \"a\": with it the image has more than 9 bytes", {{9, 99, 99}, 9, 9, 99, 99}},
    {"names", LAYERS("a/b/c/d/e"), "0 LIMIT_EXCEEDED entry \"a/b/c/d/e\": with it the image has more than 4 names", {{9, 99, 4}, 99, 99, 99, 99}},
    {"depth", LAYERS("a/b/c"), "0 LIMIT_EXCEEDED entry \"a/b/c\": its name has more than 2 components", {{2, 99, 99}, 99, 99, 99, 99}},
    {"length", LAYERS("abcdef"), "0 LIMIT_EXCEEDED entry \"abcdef\": its name is longer than 5 bytes", {{2, 5, 99}, 99, 99, 99, 99}},
    {"a directory", LAYERS("d/a d/b", "d/c e/a"), "0 LIMIT_EXCEEDED entry \"d/b\": with it a directory of its path has more than 2 names",
      {{9, 99, 99}, 99, 99, 2, 99}},
    {"the root", LAYERS("a/1 b", "c"), "0 LIMIT_EXCEEDED entry \"b\": with it a directory", {{9, 99, 99}, 99, 99, 2, 99}},
    {"waiting", LAYERS("f", "a>f b>f c>f"), "1 LIMIT_EXCEEDED entry \"c\": with it more than 4 bytes of names wait", {{9, 99, 99}, 99, 99, 99, 4}},
    {"waiting, again and again", LAYERS("c", "d>c", "b", "e>b"), "1 LIMIT_EXCEEDED entry \"d\": with it more than 13 bytes",
      {{9, 99, 99}, 99, 99, 99, 13}},
    {"hidden while links wait", LAYERS("f", "k", "a>f"), "1 LIMIT_EXCEEDED entry \"k\": with it more than 4 bytes of names wait", {{9, 99, 99}, 99, 99, 99, 4}},
  };
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    AUTO_BUFFER shown = {0};
    struct merge_summary summary;
    show_merge(rows[i].layers, false, &rows[i].limits, &shown, &summary);
    if (strstr(shown.at, rows[i].shown) != shown.at) fail_row("%s: %s", rows[i].name, shown.at);
  }
  AUTO_BUFFER shown = {0};
  struct merge_summary summary;
  const struct merge_limits few = {{9, 99, 4}, 99, 99, 99, 99};
  const char *const names[] = LAYERS("a/b/c/d/e"), *const entries[] = LAYERS("a a a a a");
  show_merge(names, true, &few, &shown, &summary);
  assert_non_null(strstr(shown.at, "0 LIMIT_EXCEEDED"));
  shown.length = 0;
  show_merge(entries, true, &few, &shown, &summary);
  assert_non_null(strstr(shown.at, "0 LIMIT_EXCEEDED"));
}

static void many_links_over_many_layers(void **state) {
  (void)state;
  // Each layer hides something while all links wait: the cost must not be their product.
  AUTO_BUFFER links = {0}, targets = {0}, out = {0};
  for (int i = 0; i < 3000; i++) {
    buffer_print(&links, "l%d>d/d/d/d/d/d/d/d/f%d ", i, i);
    buffer_print(&targets, "d/d/d/d/d/d/d/d/f%d ", i);
  }
  const char *layers[402] = {targets.at};
  for (int i = 1; i < 400; i++) layers[i] = "x";
  layers[400] = links.at;
  struct merge_summary summary;
  struct failure why;
  int fault_layer;
  assert_int_equal(merge(layers, false, &wide, &out, &summary, &fault_layer, &why), MERGE_OK);
  assert_int_equal(summary.inodes, 1 + 3000 + 8 + 1);
}

static bool no_more(void *to, const void *at, size_t length) {
  (void)to, (void)at, (void)length;
  return false;
}

static void output_ends(void **state) {
  (void)state;
  AUTO_BUFFER layer = {0};
  layer_of("d/ f", &layer);
  struct pieces pieces = {layer.at, layer.length, 512, NULL};
  struct writer *writer = writer_open((struct writer_output){no_more, NULL});
  struct merger *merger = merger_open(&wide, writer, KEY);
  struct failure why = {0};
  struct merge_summary summary;
  assert_int_equal(merger_layer(merger, 0, 1 << 20, NULL, (struct tar_input){pieces_more, &pieces}, &why), MERGE_OK);
  assert_int_equal(merger_end(merger, &summary), MERGE_OUTPUT_ENDED);
  merger_close(&merger);
  writer_close(&writer);
  free(pieces.copy);
}

// --- policy ----------------------------------------------------------------------------------------------------------------------

static void policy(void **state) {
  (void)state;
  assert_int_equal(kept_mode(07777), 01777);
  const struct {
    const char *name;
    bool kept;
  } rows[] = {{"user.foo", true}, {"user.", false}, {"user", false}, {"user.overlay.opaque", false}, {"user.overlay.", false}, {"user.overlayed", true},
    {"security.capability", false}, {"trusted.overlay.opaque", false}, {"system.posix_acl_access", false}, {"User.foo", false}, {"", false}};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    const struct tar_attribute attribute = {rows[i].name, "", strlen(rows[i].name), 0};
    check(is_kept_attribute(&attribute) == rows[i].kept, rows[i].name);
  }
}

static void attributes_have_an_end(void **state) {
  (void)state;
  AUTO_BUFFER value = {0};
  for (int i = 0; i < 60000; i++) buffer_byte(&value, 'v');
  AUTO_BUFFER layer = {0}, out = {0};
  tar_pax(&layer, 'x', PAX("SCHILY.xattr.user.a", value.at));
  tar_file(&layer, "f", "");
  struct pieces pieces = {layer.at, layer.length, 512, NULL};
  struct writer *writer = writer_open((struct writer_output){append, &out});
  struct merger *merger = merger_open(&wide, writer, KEY);
  struct failure why = {0};
  assert_int_equal(merger_layer(merger, 0, 1 << 20, NULL, (struct tar_input){pieces_more, &pieces}, &why), MERGE_FAULT);
  assert_int_equal(why.code, ERROR_LIMIT_EXCEEDED);
  assert_non_null(strstr(why.what, "entry \"f\": its extended attributes"));
  merger_close(&merger);
  writer_close(&writer);
  free(pieces.copy);
}

// --- writer ----------------------------------------------------------------------------------------------------------------------

static uint64_t random_next(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  return *seed ^= *seed << 17;
}

static void random_text(uint64_t *seed, size_t length, bool any, struct buffer *out) {
  buffer_text(out, "");
  for (size_t i = 0; i < length; i++) {
    char byte = (char)(random_next(seed) & 0xff);
    buffer_byte(out, any || (byte != 0 && byte != '/') ? byte : 'n');
  }
}

struct written {
  struct buffer name, link, content, value, key;
  enum tar_type type;
  uint32_t mode;
  int64_t mtime;
};

static void round_trip(void **state) {
  (void)state;
  static const size_t lengths[] = {1, 2, 99, 100, 101, 155, 156, 255, 256, 511, 512, 513, 4000};
  static const int64_t times[] = {0, 1, -1, INT64_C(0x1ffffffff), INT64_C(0x200000000), INT64_MAX, INT64_MIN, -1000000};
  uint64_t seed = 88172645463325252;
  struct written entries[400] = {0};
  AUTO_BUFFER archive = {0};
  struct writer *writer = writer_open((struct writer_output){append, &archive});
  for (size_t i = 0; i < COUNT_OF(entries); i++) {
    struct written *each = &entries[i];
    static const enum tar_type types[] = {TAR_REGULAR, TAR_DIRECTORY, TAR_SYMLINK, TAR_LINK};
    each->type = types[random_next(&seed) % 4];
    each->mode = (uint32_t)(random_next(&seed) & 07777);
    each->mtime = times[random_next(&seed) % COUNT_OF(times)];
    random_text(&seed, lengths[random_next(&seed) % COUNT_OF(lengths)], false, &each->name);
    if (each->type == TAR_SYMLINK || each->type == TAR_LINK) random_text(&seed, lengths[random_next(&seed) % COUNT_OF(lengths)], false, &each->link);
    if (each->type == TAR_REGULAR) random_text(&seed, random_next(&seed) % 3 == 0 ? random_next(&seed) % 200000 : random_next(&seed) % 1200, true, &each->content);
    bool attribute = random_next(&seed) % 3 == 0;
    if (attribute) {
      buffer_text(&each->key, "user.k\xff\n");
      random_text(&seed, random_next(&seed) % 120, true, &each->value);
    }
    const struct tar_attribute kept = {each->key.at, each->value.at, each->key.length, each->value.length};
    const struct tar_entry entry = {.name = each->name.at, .name_length = each->name.length, .link = each->link.at, .link_length = each->link.length,
      .type = each->type, .mode = each->mode, .mtime = each->mtime, .size = each->content.length, .attributes = &kept, .attribute_count = attribute};
    assert_true(writer_header(writer, &entry));
    if (each->type != TAR_REGULAR) continue;
    size_t half = each->content.length / 2;
    if (half > 0) assert_true(writer_content(writer, (const unsigned char *)each->content.at, half));
    assert_true(writer_content(writer, (const unsigned char *)each->content.at + half, each->content.length - half));
    assert_true(writer_content_end(writer));
  }
  assert_true(writer_end(writer));
  writer_close(&writer);
  struct pieces pieces = {archive.at, archive.length, 10000, NULL};
  struct tar_reader *reader = tar_open((struct tar_input){pieces_more, &pieces});
  const struct tar_entry *entry;
  struct failure why;
  for (size_t i = 0; i < COUNT_OF(entries); i++) {
    struct written *each = &entries[i];
    assert_int_equal(tar_next(reader, &entry, &why), TAR_ENTRY);
    assert_int_equal(entry->type, each->type);
    assert_int_equal(entry->mode, each->mode);
    assert_true(entry->mtime == each->mtime);
    assert_int_equal(entry->name_length, each->name.length);
    assert_memory_equal(entry->name, each->name.at, each->name.length);
    assert_int_equal(entry->link_length, each->link.length);
    if (each->link.length > 0) assert_memory_equal(entry->link, each->link.at, each->link.length);
    assert_int_equal(entry->attribute_count, each->key.at != NULL);
    if (each->key.at != NULL) {
      assert_string_equal(entry->attributes[0].name, each->key.at);
      assert_int_equal(entry->attributes[0].value_length, each->value.length);
      assert_memory_equal(entry->attributes[0].value, each->value.at, each->value.length);
    }
    AUTO_BUFFER content = {0};
    const unsigned char *at;
    uint64_t length;
    do {
      assert_true(tar_content(reader, &at, &length, &why));
      buffer_add(&content, at, (size_t)length);
    } while (length > 0);
    assert_int_equal(content.length, each->content.length);
    if (content.length > 0) assert_memory_equal(content.at, each->content.at, content.length);
    buffer_free(&each->name);
    buffer_free(&each->link);
    buffer_free(&each->content);
    buffer_free(&each->key);
    buffer_free(&each->value);
  }
  assert_int_equal(tar_next(reader, &entry, &why), TAR_END);
  tar_close(&reader);
  free(pieces.copy);
}

static void zeros_for_holes(void **state) {
  (void)state;
  AUTO_BUFFER archive = {0};
  struct writer *writer = writer_open((struct writer_output){append, &archive});
  const struct tar_entry entry = {.name = "f", .name_length = 1, .type = TAR_REGULAR, .size = 1000003};
  assert_true(writer_header(writer, &entry) && writer_content(writer, NULL, 1000000) && writer_content(writer, (const unsigned char *)"abc", 3));
  assert_true(writer_content_end(writer) && writer_end(writer));
  writer_close(&writer);
  assert_int_equal(archive.length, 512 + 1000448 + 1024);
  for (size_t i = 512; i < 512 + 1000000; i++) assert_int_equal(archive.at[i], 0);
  assert_memory_equal(archive.at + 512 + 1000000, "abc", 4);
}

// --- tables ----------------------------------------------------------------------------------------------------------------------

static void tables(void **state) {
  (void)state;
  struct arena arena = {0};
  struct table table = {.key = KEY};
  char text[16];
  for (size_t i = 0; i < 20000; i++) {
    snprintf(text, sizeof text, "%zu", i);
    *table_put(&table, arena_copy(&arena, text, strlen(text)), strlen(text)) = arena_copy(&arena, text, strlen(text));
  }
  assert_int_equal(table.count, 20000);
  for (size_t i = 0; i < 20000; i++) {
    snprintf(text, sizeof text, "%zu", i);
    void **found = table_find(&table, text, strlen(text));
    assert_non_null(found);
    assert_string_equal(*found, text);
  }
  assert_null(table_find(&table, "x", 1));
  assert_null(table_find(&table, "", 0));
  table_free(&table);
  arena_free(&arena);
  assert_true(keyed_hash(1, "abc", 3) != keyed_hash(2, "abc", 3));
  assert_true(keyed_hash(1, "a", 1) != keyed_hash(1, "a\0", 2));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(path_names), cmocka_unit_test(component_length), cmocka_unit_test(whiteout_names), cmocka_unit_test(rules),
    cmocka_unit_test(limits), cmocka_unit_test(many_links_over_many_layers), cmocka_unit_test(output_ends), cmocka_unit_test(policy),
    cmocka_unit_test(attributes_have_an_end), cmocka_unit_test(round_trip), cmocka_unit_test(zeros_for_holes), cmocka_unit_test(tables)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
