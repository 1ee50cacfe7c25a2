#include "disk/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disk/reader.h"
#include "disk/tell.h"

#define ROOM ((size_t)1 << 20)
#define ALIGNMENT 4096

void output_open(struct output *output, int fd, uint64_t most) {
  *output = (struct output){.fd = fd, .buffer = aligned_alloc(ALIGNMENT, ROOM), .most = most};
  if (output->buffer == NULL) memory_exhausted();
}

static bool flush(struct output *output) {
  for (size_t done = 0; done < output->used;) {
    ssize_t n = write(output->fd, output->buffer + done, output->used - done);
    if (n <= 0) {
      output->error = n == 0 ? ENOSPC : errno;
      output->failed = true;
      return false;
    }
    done += (size_t)n;
  }
  output->used = 0;
  if (output->written - output->told < TELL_EVERY) return true;
  AUTO_BUFFER line = {0};
  buffer_print(&line, "progress %llu", (unsigned long long)output->written);
  reader_tell(&line);
  output->told = output->written;
  return true;
}

bool output_write(void *to, const void *at, size_t length) {
  struct output *output = to;
  const unsigned char *from = at;
  if (length > output->most - output->written) {
    output->failed = output->too_long = true;
    return false;
  }
  output->written += length;
  while (length > 0) {
    size_t n = length < ROOM - output->used ? length : ROOM - output->used;
    memcpy(output->buffer + output->used, from, n);
    output->used += n;
    from += n;
    length -= n;
    if (output->used == ROOM && !flush(output)) return false;
  }
  return true;
}

bool output_end(struct output *output) {
  if (!flush(output)) return false;
  if (fsync(output->fd) == 0) return true;
  output->error = errno;
  output->failed = true;
  return false;
}

bool output_fault(const struct output *output, struct failure *why) {
  if (output->too_long) return fail(why, ERROR_LIMIT_EXCEEDED, "the disk's files need more than %llu bytes", (unsigned long long)output->most);
  // A write past what the launcher's file system has room for comes back as an error of the device.
  return fail(why, ERROR_STORAGE_FULL, "the archive can't be written: %s", strerror(output->error));
}
