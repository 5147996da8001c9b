// A scheduled backup: lists a folder, stores what is new or has changed since, keeps so many versions of every file and
// has older ones forgotten. One thing at a time: the next is asked of the node when the last one is answered. All that it
// knows is in its snapshot, which is written before a version counts as stored.
#include "pangea.h"

#define FILES_MAX 256
#define VERSIONS_MAX 8
#define PATH_MAX 255
#define TICKET_MAX 400
#define TICK 1
#define RETRY 2
#define RETRY_MS 5000

typedef struct {
  u64 bytes, modified;  // of the file when this was stored
  u64 stored;           // milliseconds since 1970
  u32 ticket_len;
  u8 ticket[TICKET_MAX];
} version;

typedef struct {
  u32 path_len, count;
  u8 path[PATH_MAX];
  u64 bytes, modified;  // of the file when it was last listed
  version versions[VERSIONS_MAX];  // the newest first
} file;

static file files[FILES_MAX];
static u32 count;
static u64 every_ms, keep;
// What the node has been asked: 0 nothing, else the number of the request.
static u64 asked, next_request = 1;
static enum { LIST, STORE, DROP } asked_for;
static file *asked_file;
static u8 failure[200];
static u32 failure_len;
static u64 skipped;
// Where the next search for something to do begins: behind what was done last, so that no file that fails blocks others.
static u32 turn;
static u8 out[1000000];
static u32 out_len;

static void add(bytes what) {
  if (out_len + what.len > sizeof out) __builtin_trap();
  copy(out + out_len, what.ptr, what.len);
  out_len += what.len;
}

static void add_int(u64 n, u32 width) {
  u8 digits[8];
  for (u32 i = 0; i < width; i++) digits[i] = (u8)(n >> (8 * i));
  add((bytes){digits, width});
}

static void add_decimal(u64 n) {
  u8 digits[20];
  u32 at = 20;
  do digits[--at] = (u8)('0' + n % 10), n /= 10; while (n);
  add((bytes){digits + at, 20 - at});
}

static u64 take_int(bytes *from, u32 width) {
  u64 n = 0;
  for (u32 i = 0; i < width; i++) n |= (u64)from->ptr[i] << (8 * i);
  from->ptr += width, from->len -= width;
  return n;
}

static void take_into(bytes *from, u8 *to, u32 len) {
  copy(to, from->ptr, len);
  from->ptr += len, from->len -= len;
}

static void save(void) {
  out_len = 0;
  add_int(count, 4);
  for (file *f = files; f < files + count; f++) {
    add_int(f->path_len, 1), add_int(f->count, 1), add((bytes){f->path, f->path_len});
    for (version *v = f->versions; v < f->versions + f->count; v++) {
      add_int(v->bytes, 8), add_int(v->modified, 8), add_int(v->stored, 8), add_int(v->ticket_len, 2);
      add((bytes){v->ticket, v->ticket_len});
    }
  }
  snapshot((bytes){out, out_len});
}

// Reads what an earlier life has saved: it is as `save` has written it.
static void restore(bytes from) {
  if (!from.len) return;
  count = (u32)take_int(&from, 4);
  for (file *f = files; f < files + count; f++) {
    f->path_len = (u32)take_int(&from, 1), f->count = (u32)take_int(&from, 1);
    take_into(&from, f->path, f->path_len);
    for (version *v = f->versions; v < f->versions + f->count; v++) {
      v->bytes = take_int(&from, 8), v->modified = take_int(&from, 8), v->stored = take_int(&from, 8);
      v->ticket_len = (u32)take_int(&from, 2);
      take_into(&from, v->ticket, v->ticket_len);
    }
    // Until it is listed again it has not changed.
    f->bytes = f->versions[0].bytes, f->modified = f->versions[0].modified;
  }
}

static file *find(bytes path) {
  for (file *f = files; f < files + count; f++)
    if (same(path, (bytes){f->path, f->path_len})) return f;
  return 0;
}

static void ask_node(const char *name, u32 items) {
  asked = next_request++;
  action(name, items);
  put_int(asked);
}

static int is_changed(const file *f) {
  return !f->count || f->bytes != f->versions[0].bytes || f->modified != f->versions[0].modified;
}

// Asks for the next thing that is to be done: forget a version too many, or store what has changed.
static void go_on(void) {
  if (asked) return;
  for (u32 i = 0; i < count; i++) {
    file *f = &files[(turn + i) % count];
    if (f->count > keep || is_changed(f)) turn = (u32)(f - files) + 1;
    if (f->count > keep) {
      version *v = &f->versions[f->count - 1];
      asked_for = DROP, asked_file = f;
      ask_node("remove", 2), put_text((bytes){v->ticket, v->ticket_len}), done();
      return;
    }
    if (is_changed(f)) {
      asked_for = STORE, asked_file = f;
      ask_node("store-file", 2), put_text((bytes){f->path, f->path_len}), done();
      return;
    }
  }
}

static void list(void) {
  if (asked) return;
  asked_for = LIST;
  ask_node("list", 1), done();
}

static void listed(u32 at) {
  u32 found = (u32)head(&at);
  skipped = 0;
  while (found--) {
    head(&at);
    bytes path = item(&at);
    u64 size = head(&at), modified = head(&at);
    file *f = find(path);
    if (!f && (count == FILES_MAX || path.len > PATH_MAX)) {
      skipped++;
      continue;
    }
    if (!f) {
      f = &files[count++];
      f->path_len = path.len, f->count = 0;
      copy(f->path, path.ptr, path.len);
    }
    f->bytes = size, f->modified = modified;
  }
}

static void stored(bytes ticket) {
  file *f = asked_file;
  if (ticket.len > TICKET_MAX) return;
  for (u32 i = f->count < VERSIONS_MAX ? f->count : VERSIONS_MAX - 1; i; i--) f->versions[i] = f->versions[i - 1];
  if (f->count < VERSIONS_MAX) f->count++;
  f->versions[0] = (version){f->bytes, f->modified, pangea_now(), ticket.len, {0}};
  copy(f->versions[0].ticket, ticket.ptr, ticket.len);
}

static void failed(bytes reason) {
  failure_len = reason.len < sizeof failure ? reason.len : sizeof failure;
  copy(failure, reason.ptr, failure_len);
  // What cannot be forgotten, since nobody has it any more, is forgotten here.
  if (asked_for == DROP) asked_file->count--;
  // A file that is gone since it was listed looks unchanged until it is listed again.
  if (asked_for == STORE && asked_file->count)
    asked_file->bytes = asked_file->versions[0].bytes, asked_file->modified = asked_file->versions[0].modified;
}

static bytes status(void) {
  u64 versions = 0, waiting = 0;
  for (file *f = files; f < files + count; f++) versions += f->count, waiting += (u64)is_changed(f);
  out_len = 0;
  add_decimal(count), add(text(" files, ")), add_decimal(versions), add(text(" versions, "));
  add_decimal(waiting), add(text(" to be stored"));
  if (skipped) add(text(", ")), add_decimal(skipped), add(text(" left out"));
  if (failure_len) add(text("; last failure: ")), add((bytes){failure, failure_len});
  return (bytes){out, out_len};
}

static bytes ask(bytes rest) {
  bytes command = word(&rest);
  if (same(command, text("status"))) return status();
  out_len = 0;
  if (same(command, text("now"))) {
    list();
    return text("looking");
  }
  if (same(command, text("files"))) {
    for (file *f = files; f < files + count; f++)
      add((bytes){f->path, f->path_len}), add(text("  ")), add_decimal(f->count), add(text("\n"));
  } else {
    file *f = find(rest);
    for (u32 i = 0; f && i < f->count; i++)
      add((bytes){f->versions[i].ticket, f->versions[i].ticket_len}), add(text("\n"));
  }
  return out_len ? (bytes){out, out_len - 1} : text("(none)");
}

bytes plugin(const event *e) {
  // An answer to what is asked now, and not to something else.
  int answers = asked && e->id == asked && e->kind >= STORED;
  switch (e->kind) {
    case STARTED:
      every_ms = number(setting(e, "every"), 60) * 1000;
      keep = number(setting(e, "keep"), 3);
      if (keep < 1 || keep >= VERSIONS_MAX) keep = VERSIONS_MAX - 1;
      restore(e->data);
      timer(TICK, every_ms);
      list();
      return (bytes){0, 0};
    case TIMER:
      if (e->id == TICK) timer(TICK, every_ms), list();
      break;
    case ASK: return ask(e->data);
    default: break;
  }
  if (answers) {
    asked = 0;
    if (e->kind == LISTED) listed(e->at);
    if (e->kind == STORED) stored(e->data), save();
    if (e->kind == REMOVED && asked_for == DROP) asked_file->count--, save();
    if (e->kind == FAILED) {
      if (asked_for == DROP) failed(e->data), save();
      else failed(e->data), timer(RETRY, RETRY_MS);
      if (asked_for != DROP) return (bytes){0, 0};
    }
    go_on();
  } else if (e->kind == TIMER && e->id == RETRY) {
    list();
  }
  return (bytes){0, 0};
}
