// A tour of what a module may import: one task that uses all of it. The same in Rust (src/lib.rs) and in AssemblyScript
// (tour.ts).
#define PANGEA_LOG
#include "../../c/pangea.h"

static void put_text(pangea_buffer *into, const char *text) {
    while (*text) pangea_put_byte(into, (uint8_t)*text++);
}

static pangea_bytes tour(pangea_bytes input) {
    if (input.len == 0) pangea_fail("the input is empty: there is nothing to show");
    pangea_buffer line = {0}, output = {0};
    pangea_put_number(&line, input.len);
    put_text(&line, " bytes of input");
    pangea_log(2, line.at, line.len);
    pangea_send(input.at, input.len);
    uint64_t number;
    pangea_random(&number, sizeof number);
    uint8_t start[5];
    int32_t read = pangea_chunk_read(0, 0, start, sizeof start);
    put_text(&output, "now ");
    pangea_put_number(&output, pangea_now());
    put_text(&output, "\nrandom ");
    pangea_put_number(&output, number);
    put_text(&output, "\nchunk ");
    if (read < 0) put_text(&output, "none");
    else pangea_put(&output, start, (size_t)read);
    put_text(&output, "\n");
    return pangea_done(&output);
}

PANGEA_TASK(tour)
