// What the tests share.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#undef fail // a macro of cmocka; the name is ours

#include "policy/failure.h"
#include "vectors.gen.h"

#define fail_row(...)          \
  do {                         \
    print_error(__VA_ARGS__);  \
    print_error("\n");         \
    _fail(__FILE__, __LINE__); \
  } while (0)

// A check that names the row of a table.
#define check(condition, row)                                    \
  do {                                                           \
    if (!(condition)) fail_row("row %s: %s", (row), #condition); \
  } while (0)

static inline bool same_text(const char *one, const char *other) {
  return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}
