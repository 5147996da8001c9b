// Counts lines: the smallest job. The same in Rust (src/lib.rs) and in AssemblyScript (lines.ts).
#include "../../c/pangea.h"

static pangea_bytes count(pangea_chunk text) {
    uint64_t lines = 0;
    for (size_t i = 0; i < text.bytes.len; i++) lines += text.bytes.at[i] == '\n';
    pangea_buffer output = {0};
    pangea_put_number(&output, lines);
    return pangea_done(&output);
}

static pangea_bytes sum(pangea_chunk counts) {
    uint64_t sum = 0;
    for (size_t left = pangea_list_read(&counts.bytes); left; left--) {
        pangea_bytes digits = pangea_list_next(&counts.bytes);
        uint64_t number = 0;
        for (size_t i = 0; i < digits.len; i++) number = number * 10 + (digits.at[i] - '0');
        sum += number;
    }
    pangea_buffer output = {0};
    pangea_put_number(&output, sum);
    pangea_put_byte(&output, '\n');
    return pangea_done(&output);
}

PANGEA_JOB(PANGEA_NONE, count, sum)
