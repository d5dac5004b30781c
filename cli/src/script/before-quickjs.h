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

/* Nonzero while the engine freezes the heap (`seal.rs`): a run of the cycle collector then marks all objects and functions
   that others refer to, and collects nothing. */
__attribute__((weak)) int room_is_sealing;

/* The mark is a bit of the count that no count reaches. A count is part of its object: a room that called a function of the
   frozen heap would write to the page of that function, and so have a page of its own. The macros are used where QuickJS has
   its own names for counts and types. Texts are counted as before: QuickJS changes one in place if nothing else refers
   to it. */
#define ROOM_FROZEN (1 << 30)
#define room_is_frozen(p) (JS_REF_COUNT(p) >= ROOM_FROZEN)
#define room_has_object(v) \
    (JS_VALUE_GET_TAG(v) == JS_TAG_OBJECT || JS_VALUE_GET_TAG(v) == JS_TAG_FUNCTION_BYTECODE)
#define room_freeze(p) \
    ((JS_GC_TYPE(p) == JS_GC_OBJ_TYPE_JS_OBJECT || JS_GC_TYPE(p) == JS_GC_OBJ_TYPE_FUNCTION_BYTECODE) \
         ? (void)(JS_REF_COUNT(p) |= ROOM_FROZEN) \
         : (void)0)

#undef JS_VALUE_HAS_REF_COUNT
#define JS_VALUE_HAS_REF_COUNT(v) \
    ((unsigned)JS_VALUE_GET_TAG(v) >= (unsigned)JS_TAG_FIRST \
     && !(room_has_object(v) && room_is_frozen(JS_VALUE_GET_PTR(v))))

/* The collector takes away the counts of what it finds, to see what is left. It takes none from frozen objects, whose counts
   say nothing any more. So all of them stay, and so does everything that they refer to. */
#define mark_func(rt, p) \
    (room_is_sealing ? room_freeze(p) : room_is_frozen(p) ? (void)0 : (mark_func)((rt), (p)))
