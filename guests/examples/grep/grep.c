// Grep: the lines of a text that match a pattern, with their numbers and byte offsets, as `grep -nb` prints them.
//
// The first line of the input is the pattern, and the rest the text. A pattern is made of bytes that stand for themselves,
// `.` for any byte, `*` for any number of the one before it, `^` and `$` for the ends of a line, and `\` before one of
// these.
//
//   split     pattern and text ─▶ pieces of whole lines, the pattern before each
//   execute   a piece ─▶ "bytes lines" of it, then "line offset text" per match, counted from the piece's beginning
//   merge     those of all pieces ─▶ "line:offset:text" per match, counted from the text's beginning
#include "../../c/pangea.h"

// A piece has about so many bytes.
#define PIECE (256 << 10)

// Takes a line off the front of bytes, without its end. There must be a byte left.
static pangea_bytes take_line(pangea_bytes *from) {
    pangea_bytes line = {from->at, 0};
    while (line.len < from->len && line.at[line.len] != '\n') line.len++;
    size_t taken = line.len < from->len ? line.len + 1 : line.len;
    from->at += taken;
    from->len -= taken;
    return line;
}

static uint64_t take_number(pangea_bytes *from) {
    uint64_t number = 0;
    while (from->len && *from->at >= '0' && *from->at <= '9') {
        number = number * 10 + (*from->at - '0');
        from->at++, from->len--;
    }
    if (from->len && *from->at == ' ') from->at++, from->len--;
    return number;
}

static pangea_bytes split(pangea_chunk whole) {
    pangea_bytes text = whole.bytes, pattern = {0, 0};
    if (text.len) pattern = take_line(&text);
    // Counted first: a list begins with how many it has. The cuts are where the second round makes them.
    pangea_buffer list = {0};
    for (int round = 0; round < 2; round++) {
        size_t pieces = 0;
        for (size_t start = 0, end; start < text.len; start = end, pieces++) {
            end = text.len - start > PIECE ? start + PIECE : text.len;
            while (end < text.len && text.at[end - 1] != '\n') end++;
            if (round == 0) continue;
            pangea_put_head(&list, PANGEA_BYTES, pattern.len + 1 + (end - start));
            pangea_put(&list, pattern.at, pattern.len);
            pangea_put_byte(&list, '\n');
            pangea_put(&list, text.at + start, end - start);
        }
        if (round == 0) pangea_list_begin(&list, pieces);
    }
    return pangea_done(&list);
}

// Does the pattern match at the beginning of text? After Rob Pike's matcher in "The Practice of Programming" (1999).
static bool matches_here(const uint8_t *pattern, size_t left, const uint8_t *text, size_t rest) {
    for (;;) {
        if (left == 0) return true;
        if (left == 1 && pattern[0] == '$') return rest == 0;
        bool escaped = pattern[0] == '\\' && left > 1, any = pattern[0] == '.';
        size_t width = escaped ? 2 : 1;
        uint8_t byte = pattern[width - 1];
        if (left > width && pattern[width] == '*') {
            do
                if (matches_here(pattern + width + 1, left - width - 1, text, rest)) return true;
            while (rest && (any || *text == byte) && (text++, rest--, true));
            return false;
        }
        if (rest == 0 || !(any || *text == byte)) return false;
        pattern += width, left -= width, text++, rest--;
    }
}

static bool matches(pangea_bytes pattern, pangea_bytes line) {
    if (pattern.len && pattern.at[0] == '^') return matches_here(pattern.at + 1, pattern.len - 1, line.at, line.len);
    // Most places are left behind by their first byte alone.
    bool plain = pattern.len > 1 && pattern.at[0] != '.' && pattern.at[0] != '\\' && pattern.at[0] != '$' && pattern.at[1] != '*';
    for (size_t at = 0; at <= line.len; at++) {
        if (plain) {
            while (at < line.len && line.at[at] != pattern.at[0]) at++;
            if (at == line.len) return false;
        }
        if (matches_here(pattern.at, pattern.len, line.at + at, line.len - at)) return true;
    }
    return false;
}

static pangea_bytes execute(pangea_chunk piece) {
    pangea_bytes text = piece.bytes;
    if (text.len == 0) pangea_fail("the first line is the pattern");
    pangea_bytes pattern = take_line(&text);
    const uint8_t *start = text.at;
    uint64_t lines = 0;
    pangea_buffer found = {0}, output = {0};
    while (text.len) {
        pangea_bytes line = take_line(&text);
        if (matches(pattern, line)) {
            pangea_put_number(&found, lines);
            pangea_put_byte(&found, ' ');
            pangea_put_number(&found, (uint64_t)(line.at - start));
            pangea_put_byte(&found, ' ');
            pangea_put(&found, line.at, line.len);
            pangea_put_byte(&found, '\n');
        }
        lines++;
    }
    pangea_put_number(&output, (uint64_t)(text.at - start));
    pangea_put_byte(&output, ' ');
    pangea_put_number(&output, lines);
    pangea_put_byte(&output, '\n');
    pangea_put(&output, found.at, found.len);
    return pangea_done(&output);
}

static pangea_bytes merge(pangea_chunk parts) {
    pangea_bytes list = parts.bytes;
    uint64_t bytes = 0, lines = 0;
    pangea_buffer output = {0};
    for (size_t left = pangea_list_read(&list); left; left--) {
        pangea_bytes part = pangea_list_next(&list);
        if (part.len == 0) pangea_fail("a part begins with its bytes and lines");
        pangea_bytes head = take_line(&part);
        while (part.len) {
            pangea_bytes match = take_line(&part);
            pangea_put_number(&output, lines + take_number(&match) + 1);
            pangea_put_byte(&output, ':');
            pangea_put_number(&output, bytes + take_number(&match));
            pangea_put_byte(&output, ':');
            pangea_put(&output, match.at, match.len);
            pangea_put_byte(&output, '\n');
        }
        bytes += take_number(&head);
        lines += take_number(&head);
    }
    return pangea_done(&output);
}

PANGEA_JOB(split, execute, merge)
