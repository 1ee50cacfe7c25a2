/* The floor of the pull benchmark: merges gzip layers, named newest to oldest, into one tar on standard output.
 *   merge NEWEST.gz ... OLDEST.gz | tar2sqfs ...
 * It does what any merger must (whiteouts, opaque directories, newest wins, long names) and nothing else: no digest is checked,
 * nothing is validated, a hard link is passed on as it is. Only for layers the benchmark made itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 512, BUFFER = 1 << 20 };

static void die(const char *what) {
  fprintf(stderr, "merge: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* --- paths seen so far: an open hash table ------------------------------------------------------------------------------- */

struct mark {
  char *path;
  uint64_t hash;
  int stated;    /* newest layer that states the path, or -1 */
  int covered;   /* newest layer whose whiteout or non-directory hides the whole subtree below, or -1 */
  int whiteout;  /* newest layer that whites the path itself out, or -1 */
  int opaque;    /* newest layer that hides what older ones have below, or -1 */
};

static struct mark *table;
static size_t capacity = 1 << 18, used;

static uint64_t hash_of(const char *path, size_t length) {
  uint64_t h = 1469598103934665603u;
  for (size_t i = 0; i < length; i++) h = (h ^ (unsigned char)path[i]) * 1099511628211u;
  return h;
}

static struct mark *slot(struct mark *in, size_t size, const char *path, size_t length, uint64_t hash) {
  for (size_t i = hash & (size - 1);; i = (i + 1) & (size - 1))
    if (!in[i].path || (in[i].hash == hash && !strncmp(in[i].path, path, length) && !in[i].path[length])) return &in[i];
}

static struct mark *find(const char *path, size_t length) {
  struct mark *m = slot(table, capacity, path, length, hash_of(path, length));
  return m->path ? m : NULL;
}

static struct mark *get(const char *path, size_t length) {
  if (used * 2 > capacity) {
    struct mark *bigger = calloc(capacity * 2, sizeof *bigger);
    if (!bigger) die("memory");
    for (size_t i = 0; i < capacity; i++)
      if (table[i].path) *slot(bigger, capacity * 2, table[i].path, strlen(table[i].path), table[i].hash) = table[i];
    free(table);
    table = bigger;
    capacity *= 2;
  }
  uint64_t hash = hash_of(path, length);
  struct mark *m = slot(table, capacity, path, length, hash);
  if (!m->path) {
    *m = (struct mark){strndup(path, length), hash, -1, -1, -1, -1};
    used++;
  }
  return m;
}

/* --- in and out ----------------------------------------------------------------------------------------------------------- */

static char in[BUFFER], out[BUFFER];
static size_t in_at, in_end, out_end;
static int source;

static void write_all(const char *data, size_t length) {
  while (length > 0) {
    ssize_t n = write(1, data, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) die("write");
    data += n;
    length -= (size_t)n;
  }
}

static void flush(void) {
  write_all(out, out_end);
  out_end = 0;
}

static void emit(const char *data, size_t length) {
  if (out_end + length > BUFFER) flush();
  if (length > BUFFER / 2) {
    flush();
    write_all(data, length);
    return;
  }
  memcpy(out + out_end, data, length);
  out_end += length;
}

static bool fill(void) {
  for (;;) {
    ssize_t n = read(source, in, BUFFER);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) die("read");
    in_at = 0;
    in_end = (size_t)n;
    return n > 0;
  }
}

static bool take(char *to, size_t length) {
  while (length > 0) {
    if (in_at == in_end && !fill()) return false;
    size_t n = in_end - in_at < length ? in_end - in_at : length;
    memcpy(to, in + in_at, n);
    in_at += n;
    to += n;
    length -= n;
  }
  return true;
}

static void pass(uint64_t length, bool keep) {
  while (length > 0) {
    if (in_at == in_end && !fill()) {
      errno = EPIPE;
      die("a layer ends early");
    }
    size_t n = in_end - in_at < length ? in_end - in_at : (size_t)length;
    if (keep) emit(in + in_at, n);
    in_at += n;
    length -= n;
  }
}

static pid_t inflate(const char *layer, int *from) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) die("pipe");
  fcntl(ends[0], F_SETPIPE_SZ, BUFFER);
  pid_t pid = fork();
  if (pid < 0) die("fork");
  if (pid == 0) {
    dup2(ends[1], 1);
    execlp("igzip", "igzip", "-dc", layer, (char *)NULL);
    die("igzip");
  }
  close(ends[1]);
  *from = ends[0];
  return pid;
}

/* --- the walk --------------------------------------------------------------------------------------------------------------- */

static uint64_t number(const char *field, size_t length) {
  uint64_t value = 0;
  if (field[0] & 0x80) {
    value = field[0] & 0x7f;
    for (size_t i = 1; i < length; i++) value = value << 8 | (unsigned char)field[i];
    return value;
  }
  for (size_t i = 0; i < length && field[i]; i++)
    if (field[i] >= '0' && field[i] <= '7') value = value * 8 + (uint64_t)(field[i] - '0');
  return value;
}

static bool below_hidden(const char *path, size_t length, int layer) {
  for (size_t i = 0; i <= length; i++) {
    if (i != 0 && path[i] != '/') continue;
    if (i == length) break;
    struct mark *m = find(path, i);
    if (!m) continue;
    if ((m->covered >= 0 && m->covered < layer) || (m->opaque >= 0 && m->opaque < layer)) return true;
  }
  return false;
}

static void walk(int layer) {
  static char ahead[1 << 18], name[1 << 16], parent[1 << 16];
  size_t ahead_length = 0, name_length = 0;
  bool named = false, parent_known = false, parent_hidden = false;
  size_t parent_length = 0;
  char header[BLOCK];
  in_at = in_end = 0;
  while (take(header, BLOCK) && header[0]) {
    uint64_t size = number(header + 124, 12), padded = (size + BLOCK - 1) / BLOCK * BLOCK;
    char type = header[156];
    if (type == 'x' || type == 'L' || type == 'K') {
      if (ahead_length + BLOCK + padded > sizeof ahead) die("a long header is too long");
      memcpy(ahead + ahead_length, header, BLOCK);
      char *data = ahead + ahead_length + BLOCK;
      if (!take(data, padded)) die("a layer ends early");
      ahead_length += BLOCK + padded;
      if (type == 'L') {
        name_length = strnlen(data, size);
        memcpy(name, data, name_length);
        named = true;
      }
      for (size_t at = 0; type == 'x' && at < size;) {
        char *rest;
        size_t record = strtoul(data + at, &rest, 10);
        if (record == 0) break;
        if (!strncmp(rest, " path=", 6)) {
          name_length = (size_t)(data + at + record - 1 - (rest + 6));
          memcpy(name, rest + 6, name_length);
          named = true;
        }
        at += record;
      }
      continue;
    }
    if (!named) {
      size_t prefix = header[345] && !memcmp(header + 257, "ustar\0", 6) ? strnlen(header + 345, 155) : 0;
      memcpy(name, header + 345, prefix);
      if (prefix) name[prefix++] = '/';
      size_t rest = strnlen(header, 100);
      memcpy(name + prefix, header, rest);
      name_length = prefix + rest;
    }
    char *path = name;
    size_t length = name_length;
    while (length >= 2 && path[0] == '.' && path[1] == '/') path += 2, length -= 2;
    while (length > 0 && path[length - 1] == '/') length--;
    path[length] = '\0';

    /* Neighbours share a parent: its answer is kept. */
    char *slash = memrchr(path, '/', length);
    size_t dir = slash ? (size_t)(slash - path) : 0;
    const char *base = slash ? slash + 1 : path;
    if (!parent_known || dir != parent_length || memcmp(parent, path, dir)) {
      memcpy(parent, path, dir);
      parent_length = dir;
      struct mark *m = find(path, dir);
      parent_hidden = below_hidden(path, dir, layer) ||
        (m && ((m->covered >= 0 && m->covered < layer) || (m->opaque >= 0 && m->opaque < layer)));
      parent_known = true;
    }

    bool keep = false;
    if (!strncmp(base, ".wh.", 4)) {
      if (!parent_hidden) {
        if (!strcmp(base, ".wh..wh..opq")) {
          struct mark *m = get(path, dir);
          if (m->opaque < 0) m->opaque = layer;
        } else {
          memmove(path + dir + (slash ? 1 : 0), base + 4, strlen(base + 4) + 1);
          struct mark *m = get(path, length - 4);
          if (m->whiteout < 0) m->whiteout = layer;
          if (m->covered < 0) m->covered = layer;
        }
      }
    } else if (!parent_hidden) {
      struct mark *m = get(path, length);
      keep = m->stated < 0 && !(m->whiteout >= 0 && m->whiteout < layer);
      if (keep) {
        m->stated = layer;
        if (type != '5' && m->covered < 0) m->covered = layer;
      }
    }
    if (keep) {
      emit(ahead, ahead_length);
      emit(header, BLOCK);
    }
    pass(type == '1' || type == '2' || type == '5' ? 0 : padded, keep);
    ahead_length = 0;
    named = false;
  }
  while (in_at < in_end || fill()) in_at = in_end;
}

int main(int argc, char **argv) {
  table = calloc(capacity, sizeof *table);
  if (!table || argc < 2) {
    fprintf(stderr, "usage: merge NEWEST.gz ... OLDEST.gz\n");
    return 2;
  }
  pid_t *pids = calloc((size_t)argc, sizeof *pids);
  int *sources = calloc((size_t)argc, sizeof *sources);
  if (!pids || !sources) die("memory");
  for (int i = 1; i < argc; i++) pids[i] = inflate(argv[i], &sources[i]);
  for (int i = 1; i < argc; i++) {
    source = sources[i];
    walk(i);
    close(source);
    int status;
    if (waitpid(pids[i], &status, 0) < 0 || status != 0) {
      fprintf(stderr, "merge: %s can't be inflated\n", argv[i]);
      return 1;
    }
  }
  memset(in, 0, 2 * BLOCK);
  emit(in, 2 * BLOCK);
  flush();
  return 0;
}
