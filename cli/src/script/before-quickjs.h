/* What every file of QuickJS is compiled after. Two things are changed of QuickJS: how it bounds its stack, and that it does
   not count the references to objects of the frozen heap. */

#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Where QuickJS finds `__wasi__` it bounds no stack, so that a recursion without an end is a trap instead of a
   `RangeError`. The library's headers above need the name, and QuickJS does without it, but for one thing: with
   `__GLIBC__` it asks the allocator for the sizes of blocks, as it does with `__wasi__`. */
#undef __wasi__
#define __GLIBC__ 2

#include "quickjs.h"

/* Objects and functions below this address live as long as the heap: they were there when it was frozen. 0 until then.
   The engine sets it (`freeze.rs`). */
__attribute__((weak)) uintptr_t room_frozen_end;

static inline int room_is_frozen(const void *p) {
    return (uintptr_t)p < room_frozen_end;
}

/* A count is part of the object. A room that called a frozen function would write to the function's page, and so have a
   page of its own. Strings are counted as before: QuickJS changes a string in place if nothing else refers to it. */
static inline int room_is_counted(JSValueConst v) {
    int tag = JS_VALUE_GET_TAG(v);
    if (tag == JS_TAG_OBJECT || tag == JS_TAG_FUNCTION_BYTECODE)
        return !room_is_frozen(JS_VALUE_GET_PTR(v));
    return (unsigned)tag >= (unsigned)JS_TAG_FIRST;
}

#undef JS_VALUE_HAS_REF_COUNT
#define JS_VALUE_HAS_REF_COUNT(v) room_is_counted(v)

/* The collector takes away the counts of what it finds, to see what is left. It takes none from the frozen heap, where
   they say nothing any more. So everything there stays, and so does everything that it refers to. */
#define mark_func(rt, p) (room_is_frozen(p) ? (void)0 : (mark_func)((rt), (p)))
