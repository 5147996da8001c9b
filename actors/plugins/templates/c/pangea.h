// Plugins for Pangea in C, without a library: what is imported and exported, events read from CBOR, actions written as CBOR.
//
// A plugin includes this once and defines `bytes plugin(const event *e)`, which is called with one event at a time. What it
// returns answers an `ask`, unless it is empty. Build it with what stands in the manifest under `build`.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

// Bytes somewhere in memory. Those of an event are there until the plugin returns.
typedef struct {
  const u8 *ptr;
  u32 len;
} bytes;

#define PANGEA(name) __attribute__((import_module("pangea"), import_name(#name))) extern
PANGEA(send) void pangea_send(const void *ptr, u32 len);
PANGEA(log) void pangea_log(u32 level, const void *ptr, u32 len);
PANGEA(now) u64 pangea_now(void);
PANGEA(random) void pangea_random(void *ptr, u32 len);
PANGEA(chunk_read) int pangea_chunk_read(u32 chunk, u64 offset, void *ptr, u32 len);

typedef enum {
  STARTED, MESSAGE, ASK, CONNECTED, DISCONNECTED, TIMER, DRAIN, STORED, FETCHED, REMOVED, LISTED, FAILED, UNKNOWN
} kind;

// What happened. Only the fields of its kind are set; see docs/plugins.md.
typedef struct {
  kind kind;
  u64 id;      // request of `ask`, `stored`, `fetched`, `removed`, `listed`, `failed`; id of `timer`
  bytes peer;  // of `message`, `connected`, `disconnected`; this node itself in `started`
  bytes data;  // of `message` and `ask`; snapshot of `started`; ticket of `stored`; reason of `failed`
  u64 len;     // length of what was fetched
  u32 at;      // where the rest is: settings and peers of `started`, files of `listed`
} event;

bytes plugin(const event *e);

static inline void *copy(void *to, const void *from, u32 len) { return __builtin_memcpy(to, from, len); }

static inline int same(bytes a, bytes b) {
  if (a.len != b.len) return 0;
  for (u32 i = 0; i < a.len; i++) if (a.ptr[i] != b.ptr[i]) return 0;
  return 1;
}

static inline bytes text(const char *s) {
  u32 len = 0;
  while (s[len]) len++;
  return (bytes){(const u8 *)s, len};
}

// The first word, which is taken off `rest` with the space behind it.
static inline bytes word(bytes *rest) {
  bytes first = {rest->ptr, 0};
  while (first.len < rest->len && rest->ptr[first.len] != ' ') first.len++;
  u32 used = first.len < rest->len ? first.len + 1 : first.len;
  rest->ptr += used;
  rest->len -= used;
  return first;
}

static inline u64 number(bytes digits, u64 otherwise) {
  u64 n = 0;
  for (u32 i = 0; i < digits.len; i++) {
    if (digits.ptr[i] < '0' || digits.ptr[i] > '9' || n > 1000000000000000ull) return otherwise;
    n = n * 10 + (digits.ptr[i] - '0');
  }
  return digits.len ? n : otherwise;
}

// ---- reading: the host writes what is well formed ------------------------------------------------------------------

static const u8 *pangea_in;

static inline int is_null(u32 at) { return pangea_in[at] == 0xf6; }

// The number in the head of an item at `*at`, which moves on behind the head; of null, 0.
static inline u64 head(u32 *at) {
  int nothing = is_null(*at);
  u32 low = pangea_in[(*at)++] & 31;
  if (nothing || low > 27) return 0;
  if (low < 24) return low;
  u64 n = 0;
  for (u32 i = 0; i < (1u << (low - 24)); i++) n = n << 8 | pangea_in[(*at)++];
  return n;
}

// A byte string or a text; null is empty.
static inline bytes item(u32 *at) {
  u32 len = (u32)head(at);
  bytes found = {pangea_in + *at, len};
  *at += len;
  return found;
}

// A setting of the manifest, in `started`.
static inline bytes setting(const event *e, const char *name) {
  u32 at = e->at, pairs = (u32)head(&at);
  while (pairs--) {
    bytes key = item(&at), value = item(&at);
    if (same(key, text(name))) return value;
  }
  return (bytes){0, 0};
}

// ---- writing: an action is begun with its name, and sent -----------------------------------------------------------

#ifndef OUT_BYTES
#define OUT_BYTES 70000
#endif
static u8 pangea_out[OUT_BYTES];
static u32 pangea_len;

static inline void put_head(u8 major, u64 n) {
  u8 *out = pangea_out + pangea_len;
  u32 more = n < 24 ? 0 : n < 0x100 ? 1 : n < 0x10000 ? 2 : n < 0x100000000ull ? 4 : 8;
  if (pangea_len + 9 > OUT_BYTES) __builtin_trap();
  out[0] = major << 5 | (more == 0 ? (u8)n : more == 1 ? 24 : more == 2 ? 25 : more == 4 ? 26 : 27);
  for (u32 i = 0; i < more; i++) out[1 + i] = (u8)(n >> (8 * (more - 1 - i)));
  pangea_len += 1 + more;
}

static inline void put_string(u8 major, bytes b) {
  put_head(major, b.len);
  if (pangea_len + b.len > OUT_BYTES) __builtin_trap();
  copy(pangea_out + pangea_len, b.ptr, b.len);
  pangea_len += b.len;
}

static inline void put_int(u64 n) { put_head(0, n); }
static inline void put_bytes(bytes b) { put_string(2, b); }
static inline void put_text(bytes b) { put_string(3, b); }

static inline void action(const char *name, u32 items) {
  pangea_len = 0;
  put_head(4, items + 1);
  put_text(text(name));
}

static inline void done(void) { pangea_send(pangea_out, pangea_len); }

static inline void send_to(bytes peer, bytes what) { action("send", 2), put_bytes(peer), put_bytes(what), done(); }
static inline void tell(bytes what) { action("tell", 1), put_bytes(what), done(); }
static inline void answer(u64 request, bytes what) { action("answer", 2), put_int(request), put_bytes(what), done(); }
static inline void refuse(u64 request, const char *why) { action("refuse", 2), put_int(request), put_text(text(why)), done(); }
static inline void timer(u64 id, u64 ms) { action("timer", 2), put_int(id), put_int(ms), done(); }
static inline void snapshot(bytes what) { action("snapshot", 1), put_bytes(what), done(); }

// ---- the ABI `pangea:1` --------------------------------------------------------------------------------------------

extern u8 __heap_base;

__attribute__((export_name("alloc"))) void *alloc(u32 len) {
  u32 end = (u32)&__heap_base + len, pages = __builtin_wasm_memory_size(0);
  if (end > pages * 65536u && __builtin_wasm_memory_grow(0, (end - pages * 65536u + 65535u) / 65536u) == (u32)-1)
    __builtin_trap();
  return &__heap_base;
}

__attribute__((export_name("handle"))) u64 handle(const u8 *ptr, u32 len) {
  static const char *const names[] = {"started", "message", "ask",     "connected", "disconnected", "timer",
                                      "drain",   "stored",  "fetched", "removed",   "listed",       "failed"};
  (void)len;
  event e = {.kind = STARTED};
  u32 at = 0;
  pangea_in = ptr;
  head(&at);
  bytes name = item(&at);
  while (e.kind < UNKNOWN && !same(name, text(names[e.kind]))) e.kind++;
  switch (e.kind) {
    case STARTED: case MESSAGE: case CONNECTED: case DISCONNECTED: e.peer = item(&at); break;
    case DRAIN: case UNKNOWN: break;
    default: e.id = head(&at);
  }
  switch (e.kind) {
    case STARTED: case MESSAGE: case ASK: case STORED: case FAILED: e.data = item(&at); break;
    case FETCHED: e.len = head(&at); break;
    default: break;
  }
  e.at = at;
  bytes out = e.kind == UNKNOWN ? (bytes){0, 0} : plugin(&e);
  return (u64)(u32)out.ptr << 32 | out.len;
}
