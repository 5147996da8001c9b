// A key-value store that every node has a copy of. A write goes to all peers at once; every few seconds a node tells its
// digest, and who has another one answers with all it knows. The last writer of a key wins: by a Lamport clock, then by
// the identity of the node, so that all copies come to the same.
#include "pangea.h"

#define ENTRIES_MAX 256
#define KEY_MAX 64
#define VALUE_MAX 100
#define GOSSIP 1
#define GOSSIP_MS 5000

typedef struct {
  u64 stamp;      // the writer's clock
  u8 writer[32];  // who wrote
  u8 alive;       // 0: removed, and kept so that nobody brings it back
  u8 key_len, value_len;
  u8 key[KEY_MAX], value[VALUE_MAX];
} entry;

static entry table[ENTRIES_MAX];
static u32 count;
static u64 clock;
static u8 me[32];
// All of the table as bytes: a letter, the clock, and the entries one after the other.
static u8 packed[1 + 8 + ENTRIES_MAX * (43 + KEY_MAX + VALUE_MAX)];
static u8 said[ENTRIES_MAX * (KEY_MAX + 1)];

static entry *find(bytes key) {
  for (u32 i = 0; i < count; i++)
    if (same(key, (bytes){table[i].key, table[i].key_len})) return &table[i];
  return 0;
}

// Does `a` win over `b`?
static int beats(const entry *a, const entry *b) {
  if (a->stamp != b->stamp) return a->stamp > b->stamp;
  for (u32 i = 0; i < 32; i++)
    if (a->writer[i] != b->writer[i]) return a->writer[i] > b->writer[i];
  return 0;
}

// Takes an entry unless a better one is here, or the table is full. True if that changed something.
static int take(const entry *new) {
  entry *old = find((bytes){new->key, new->key_len});
  if (!old && count == ENTRIES_MAX) return 0;
  if (old && !beats(new, old)) return 0;
  if (new->stamp > clock) clock = new->stamp;
  if (!old) old = &table[count++];
  *old = *new;
  return 1;
}

static u32 pack(u8 *to, const entry *e) {
  u32 n = 0;
  for (u32 i = 0; i < 8; i++) to[n++] = (u8)(e->stamp >> (8 * i));
  copy(to + n, e->writer, 32), n += 32;
  to[n++] = e->alive, to[n++] = e->key_len, to[n++] = e->value_len;
  copy(to + n, e->key, e->key_len), n += e->key_len;
  copy(to + n, e->value, e->value_len);
  return n + e->value_len;
}

// Reads an entry from `from`, which a stranger may have written; 0 if it is none.
static int unpack(bytes *from, entry *e) {
  if (from->len < 43) return 0;
  const u8 *p = from->ptr;
  *e = (entry){0};
  for (u32 i = 0; i < 8; i++) e->stamp |= (u64)p[i] << (8 * i);
  copy(e->writer, p + 8, 32);
  e->alive = p[40] & 1, e->key_len = p[41], e->value_len = p[42];
  if (e->key_len > KEY_MAX || e->value_len > VALUE_MAX || from->len < 43u + e->key_len + e->value_len) return 0;
  copy(e->key, p + 43, e->key_len);
  copy(e->value, p + 43 + e->key_len, e->value_len);
  from->ptr += 43 + e->key_len + e->value_len;
  from->len -= 43 + e->key_len + e->value_len;
  return 1;
}

static bytes all(void) {
  u32 n = 0;
  packed[n++] = 'e';
  for (u32 i = 0; i < count; i++) n += pack(packed + n, &table[i]);
  return (bytes){packed, n};
}

// The order in which entries came does not matter: a sum of hashes (FNV-1a) of each.
static u64 digest(void) {
  static u8 one[43 + KEY_MAX + VALUE_MAX];
  u64 sum = 0;
  for (u32 i = 0; i < count; i++) {
    u64 hash = 14695981039346656037ull;
    u32 len = pack(one, &table[i]);
    for (u32 j = 0; j < len; j++) hash = (hash ^ one[j]) * 1099511628211ull;
    sum += hash;
  }
  return sum;
}

// Takes entries that others, or an earlier life, have written.
static int take_all(bytes from) {
  int changed = 0;
  entry e;
  while (unpack(&from, &e)) changed |= take(&e);
  return changed;
}

static void tell_digest(void) {
  u8 message[9] = {'d'};
  u64 sum = digest();
  for (u32 i = 0; i < 8; i++) message[1 + i] = (u8)(sum >> (8 * i));
  tell((bytes){message, 9});
}

static void hear(bytes peer, bytes message) {
  if (message.len < 1) return;
  bytes rest = {message.ptr + 1, message.len - 1};
  if (message.ptr[0] == 'e' && take_all(rest)) snapshot(all());
  if (message.ptr[0] != 'd' || rest.len != 8) return;
  u64 theirs = 0;
  for (u32 i = 0; i < 8; i++) theirs |= (u64)rest.ptr[i] << (8 * i);
  if (theirs != digest()) send_to(peer, all());
}

static void write(u64 request, bytes key, bytes value, int alive) {
  if (!key.len || key.len > KEY_MAX) return refuse(request, "a key has 1 to 64 bytes");
  if (value.len > VALUE_MAX) return refuse(request, "a value has at most 100 bytes");
  entry e = {.stamp = clock + 1, .alive = (u8)alive, .key_len = (u8)key.len, .value_len = (u8)value.len};
  copy(e.writer, me, 32), copy(e.key, key.ptr, key.len), copy(e.value, value.ptr, value.len);
  if (!take(&e)) return refuse(request, "256 keys are here already, removed ones included");
  snapshot(all());
  packed[0] = 'e';
  tell((bytes){packed, 1 + pack(packed + 1, &e)});
  answer(request, text("ok"));
}

static bytes keys(void) {
  u32 n = 0;
  // In order, so that all nodes say the same: the next greater one, again and again.
  for (entry *last = 0;;) {
    entry *next = 0;
    for (u32 i = 0; i < count; i++) {
      entry *e = &table[i];
#define LESS(a, b) (__extension__({ \
  u32 k = 0; \
  while (k < (a)->key_len && k < (b)->key_len && (a)->key[k] == (b)->key[k]) k++; \
  k < (a)->key_len && k < (b)->key_len ? (a)->key[k] < (b)->key[k] : (a)->key_len < (b)->key_len; }))
      if (e->alive && (!last || LESS(last, e)) && (!next || LESS(e, next))) next = e;
    }
    if (!next) break;
    if (n) said[n++] = ' ';
    copy(said + n, next->key, next->key_len), n += next->key_len;
    last = next;
  }
  return n ? (bytes){said, n} : text("(none)");
}

static bytes ask(const event *e) {
  bytes rest = e->data, command = word(&rest);
  if (same(command, text("put"))) {
    bytes key = word(&rest);
    write(e->id, key, rest, 1);
  } else if (same(command, text("del"))) {
    write(e->id, word(&rest), (bytes){0, 0}, 0);
  } else if (same(command, text("get"))) {
    entry *found = find(word(&rest));
    if (!found || !found->alive) return text("(nothing)");
    return found->value_len ? (bytes){found->value, found->value_len} : text("(empty)");
  } else if (same(command, text("keys"))) {
    return keys();
  } else if (same(command, text("digest"))) {
    u64 sum = digest();
    for (u32 i = 0; i < 16; i++) said[i] = "0123456789abcdef"[(sum >> (60 - 4 * i)) & 15];
    return (bytes){said, 16};
  }
  return (bytes){0, 0};
}

bytes plugin(const event *e) {
  switch (e->kind) {
    case STARTED:
      copy(me, e->peer.ptr, 32);
      if (e->data.len) take_all((bytes){e->data.ptr + 1, e->data.len - 1});
      timer(GOSSIP, GOSSIP_MS);
      tell_digest();
      break;
    case TIMER:
      timer(GOSSIP, GOSSIP_MS);
      tell_digest();
      break;
    case CONNECTED: send_to(e->peer, all()); break;
    case MESSAGE: hear(e->peer, e->data); break;
    case ASK: return ask(e);
    default: break;
  }
  return (bytes){0, 0};
}
