// pangea.h: tasks and MapReduce jobs for the WebAssembly sandbox of Pangea (ABI pangea:1), in C. Needs no library.
//
//   clang --target=wasm32 -O2 -nostdlib -mbulk-memory -ffp-contract=off -Wl,--no-entry,-z,stack-size=65536,--strip-all \
//         -o task.wasm task.c
//
// A task:                                     A job, of whose functions split and merge may be PANGEA_NONE:
//   pangea_bytes shout(pangea_bytes input);     pangea_bytes cut(pangea_chunk input);
//   PANGEA_TASK(shout)                          pangea_bytes count(pangea_chunk chunk);
//                                               pangea_bytes sum(pangea_chunk parts);
//                                               PANGEA_JOB(cut, count, sum)
//
// A split returns a list (pangea_list_begin, pangea_list_put), and a merge is given one (pangea_list_read,
// pangea_list_next). A module imports what it calls of pangea_log, pangea_send, pangea_now, pangea_random and
// pangea_chunk_read, and no more; whoever runs it must grant that.
//
// Memory of pangea_take lives until the module is called again; there is no free. One file of a module includes this.
#ifndef PANGEA_H
#define PANGEA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PANGEA_EXPORT(name) __attribute__((export_name(name)))
#define PANGEA_IMPORT(name) __attribute__((import_module("pangea"), import_name(name)))
#define PANGEA_USED_OR_NOT __attribute__((unused)) static

typedef struct {
    const uint8_t *at;
    size_t len;
} pangea_bytes;

// A part of a job's input: its number from 0, how many there are, and what it holds.
typedef struct {
    uint32_t index, total;
    pangea_bytes bytes;
} pangea_chunk;

// ---- What a module may import ----

// A line for whoever debugs the task; level 0 error, 1 warning, 2 information, 3 debugging.
PANGEA_IMPORT("log") void pangea_log(uint32_t level, const void *line, size_t len);
// A message for whoever runs the task.
PANGEA_IMPORT("send") void pangea_send(const void *message, size_t len);
// Milliseconds since 1970 as the caller of the task wrote them down; the same during a call.
PANGEA_IMPORT("now") uint64_t pangea_now(void);
// Bytes that follow from the seed of the call: the same wherever the task runs.
PANGEA_IMPORT("random") void pangea_random(void *into, size_t len);
// Reads data that was given beside the input: how many bytes, fewer than len at its end; -1 if there is no such chunk.
PANGEA_IMPORT("chunk_read") int32_t pangea_chunk_read(uint32_t chunk, uint64_t offset, void *into, size_t len);

// Ends the task without a result. With PANGEA_LOG defined before this header is included, the reason is logged.
PANGEA_USED_OR_NOT __attribute__((noreturn)) void pangea_fail(const char *reason) {
#ifdef PANGEA_LOG
    size_t len = 0;
    while (reason[len]) len++;
    pangea_log(0, reason, len);
#else
    (void)reason;
#endif
    __builtin_trap();
}

// ---- Memory ----

extern uint8_t __heap_base;
static uint8_t *pangea_top;

// Memory that is not cleared, aligned to 16 bytes. Ends the task if there is not enough.
PANGEA_USED_OR_NOT void *pangea_take(size_t len) {
    uintptr_t start = pangea_top ? (uintptr_t)pangea_top : ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
    uint64_t end = ((uint64_t)start + len + 15) & ~(uint64_t)15;
    uint64_t pages = (end + 65535) >> 16, have = __builtin_wasm_memory_size(0);
    if (pages > 65535 || (pages > have && __builtin_wasm_memory_grow(0, (size_t)(pages - have)) == SIZE_MAX))
        pangea_fail("out of memory");
    pangea_top = (uint8_t *)(uintptr_t)end;
    return (void *)start;
}

// Bytes that grow at their end.
typedef struct {
    uint8_t *at;
    size_t len, room;
} pangea_buffer;

PANGEA_USED_OR_NOT void pangea_put(pangea_buffer *into, const void *bytes, size_t len) {
    if (into->room - into->len < len) {
        size_t room = into->room * 2 > into->len + len ? into->room * 2 : into->len + len + 64;
        if (room < len) pangea_fail("out of memory");
        if (into->at && into->at + ((into->room + 15) & ~(size_t)15) == pangea_top) {
            // It is the last thing that was taken: more is taken behind it.
            pangea_top = into->at;
            pangea_take(room);
        } else {
            uint8_t *moved = pangea_take(room);
            if (into->len) __builtin_memcpy(moved, into->at, into->len);
            into->at = moved;
        }
        into->room = room;
    }
    if (len) __builtin_memcpy(into->at + into->len, bytes, len);
    into->len += len;
}

PANGEA_USED_OR_NOT void pangea_put_byte(pangea_buffer *into, uint8_t byte) { pangea_put(into, &byte, 1); }

// A number in decimal digits.
PANGEA_USED_OR_NOT void pangea_put_number(pangea_buffer *into, uint64_t number) {
    uint8_t digits[20];
    size_t start = sizeof digits;
    do digits[--start] = (uint8_t)('0' + number % 10);
    while (number /= 10);
    pangea_put(into, digits + start, sizeof digits - start);
}

PANGEA_USED_OR_NOT pangea_bytes pangea_done(const pangea_buffer *buffer) {
    return (pangea_bytes){buffer->at, buffer->len};
}

// ---- CBOR (RFC 8949): the envelope of a job, and lists of byte strings ----

enum { PANGEA_UINT = 0, PANGEA_BYTES = 2, PANGEA_TEXT = 3, PANGEA_ARRAY = 4 };

// Takes a head off the front of bytes; false if another one stands there.
PANGEA_USED_OR_NOT bool pangea_head(pangea_bytes *from, uint8_t major, uint64_t *value) {
    if (from->len == 0 || from->at[0] >> 5 != major) return false;
    uint8_t code = from->at[0] & 31;
    size_t width = code < 24 ? 0 : (size_t)1 << (code - 24);
    if (code > 27 || from->len - 1 < width) return false;
    *value = code < 24 ? code : 0;
    for (size_t i = 1; i <= width; i++) *value = *value << 8 | from->at[i];
    from->at += 1 + width;
    from->len -= 1 + width;
    return true;
}

// Takes a string off the front of bytes.
PANGEA_USED_OR_NOT bool pangea_string(pangea_bytes *from, uint8_t major, pangea_bytes *string) {
    uint64_t len;
    if (!pangea_head(from, major, &len) || len > from->len) return false;
    *string = (pangea_bytes){from->at, (size_t)len};
    from->at += len;
    from->len -= (size_t)len;
    return true;
}

PANGEA_USED_OR_NOT void pangea_put_head(pangea_buffer *into, uint8_t major, uint64_t value) {
    uint8_t head[9], code = value < 24 ? (uint8_t)value : value < 0x100 ? 24 : value < 0x10000 ? 25 : value >> 32 ? 27 : 26;
    size_t width = code < 24 ? 0 : (size_t)1 << (code - 24);
    head[0] = (uint8_t)(major << 5 | code);
    for (size_t i = 0; i < width; i++) head[1 + i] = (uint8_t)(value >> 8 * (width - 1 - i));
    pangea_put(into, head, 1 + width);
}

// Begins a list of so many byte strings.
PANGEA_USED_OR_NOT void pangea_list_begin(pangea_buffer *list, size_t count) { pangea_put_head(list, PANGEA_ARRAY, count); }

// Puts the next of them.
PANGEA_USED_OR_NOT void pangea_list_put(pangea_buffer *list, const void *bytes, size_t len) {
    pangea_put_head(list, PANGEA_BYTES, len);
    pangea_put(list, bytes, len);
}

// How many byte strings a list has; ends the task if it is none.
PANGEA_USED_OR_NOT size_t pangea_list_read(pangea_bytes *list) {
    uint64_t count;
    if (!pangea_head(list, PANGEA_ARRAY, &count) || count > list->len) pangea_fail("not a list");
    return (size_t)count;
}

// The next of them; ends the task if there is none.
PANGEA_USED_OR_NOT pangea_bytes pangea_list_next(pangea_bytes *list) {
    pangea_bytes item;
    if (!pangea_string(list, PANGEA_BYTES, &item)) pangea_fail("not a list of byte strings");
    return item;
}

typedef pangea_bytes (*pangea_entry)(pangea_chunk);
#define PANGEA_NONE ((pangea_entry)0)

// Calls the function of a job that the host asks for.
PANGEA_USED_OR_NOT pangea_bytes pangea_call(pangea_bytes input, pangea_entry split, pangea_entry execute, pangea_entry merge) {
    uint64_t count, index, total;
    pangea_bytes name, bytes;
    if (!pangea_head(&input, PANGEA_ARRAY, &count) || count != 4 || !pangea_string(&input, PANGEA_TEXT, &name) ||
        !pangea_head(&input, PANGEA_UINT, &index) || !pangea_head(&input, PANGEA_UINT, &total) ||
        !pangea_string(&input, PANGEA_BYTES, &bytes) || input.len || name.len == 0)
        pangea_fail("this module is for jobs: its input is [entry, index, total, payload] in CBOR");
    pangea_entry entry = name.at[0] == 's' ? split : name.at[0] == 'e' ? execute : name.at[0] == 'm' ? merge : PANGEA_NONE;
    if (!entry) pangea_fail("this module has no such function: cut the input beforehand, or take the outputs as they are");
    return entry((pangea_chunk){(uint32_t)index, (uint32_t)total, bytes});
}

// ---- Exports ----

#define PANGEA_EXPORTS(result)                                                             \
    PANGEA_EXPORT("alloc") void *pangea_export_alloc(size_t len) {                         \
        pangea_top = 0;                                                                    \
        return pangea_take(len);                                                           \
    }                                                                                      \
    PANGEA_EXPORT("handle") uint64_t pangea_export_handle(const uint8_t *at, size_t len) { \
        pangea_bytes input = {at, len}, output = result;                                   \
        return (uint64_t)(uintptr_t)output.at << 32 | output.len;                          \
    }                                                                                      \
    PANGEA_EXPORT("abi_version") uint32_t pangea_export_abi_version(void) { return 1; }

#define PANGEA_TASK(task) PANGEA_EXPORTS(task(input))
#define PANGEA_JOB(split, execute, merge) PANGEA_EXPORTS(pangea_call(input, split, execute, merge))

#endif
