// The greatest word that anyone has said: every node keeps it, and tells the others.
#include "pangea.h"

static u8 kept[255] = {'.'};
static u32 len = 1;

static int is_greater(bytes word) {
  for (u32 i = 0; i < word.len && i < len; i++)
    if (word.ptr[i] != kept[i]) return word.ptr[i] > kept[i];
  return word.len > len;
}

// A word was heard: if it is greater, it is kept. True if it was.
static int keep(bytes word) {
  if (word.len > sizeof kept || !is_greater(word)) return 0;
  copy(kept, word.ptr, word.len);
  len = word.len;
  return 1;
}

static void hear(bytes word) {
  if (keep(word)) snapshot((bytes){kept, len}), tell((bytes){kept, len});
}

bytes plugin(const event *e) {
  bytes rest = e->data;
  switch (e->kind) {
    case STARTED: keep(e->data); tell((bytes){kept, len}); break;
    case CONNECTED: send_to(e->peer, (bytes){kept, len}); break;
    case MESSAGE: hear(e->data); break;
    case ASK:
      if (same(word(&rest), text("say"))) hear(rest);
      return (bytes){kept, len};
    default: break;
  }
  return (bytes){0, 0};
}
