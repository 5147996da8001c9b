#!/bin/sh
# Makes a mixed corpus from what any Debian machine has: text, programs, compressed files, random bytes, zeros.
# Deterministic for one machine: files are taken in byte order of their paths, random bytes from a fixed key.
#
#   benches/corpus.sh DIRECTORY [MEGABYTES]      (default 1060)
set -eu
export LC_ALL=C
target=${1:?usage: corpus.sh DIRECTORY [MEGABYTES]}
megabytes=${2:-1060}
mkdir -p "$target"
rm -f "$target"/text.* "$target"/program.* "$target"/compressed.* "$target"/random.* "$target"/zero.*

# take NAME PERCENT: that share of the corpus from standard input, in files of 16 MB.
take() {
    head -c $((megabytes * 10000 * $2)) | split -b 16000000 -a 3 -d - "$target/$1."
}

# every ROOT... -- TEST...: the content of all files below the roots that pass the test and are at most 8 MB.
every() {
    roots=
    while [ "$1" != -- ]; do roots="$roots $1"; shift; done
    shift
    # shellcheck disable=SC2086 # several roots
    find $roots -xdev -type f -size -8192k "$@" -print0 2>/dev/null | sort -z | xargs -0 -r cat 2>/dev/null || true
}

text() {
    every /usr/share /usr/include /usr/lib -- \
        \( -name '*.h' -o -name '*.hpp' -o -name '*.py' -o -name '*.pl' -o -name '*.pm' -o -name '*.txt' -o -name '*.html' \
        -o -name '*.xml' -o -name '*.js' -o -name '*.json' -o -name '*.md' -o -name '*.svg' -o -name copyright \)
}

programs() {
    every /usr/bin /usr/sbin /usr/lib /usr/libexec -- \( -perm -100 -o -name '*.so*' -o -name '*.a' -o -name '*.o' \)
}

random() {
    if command -v openssl >/dev/null; then
        openssl enc -aes-128-ctr -nosalt -K 50616e67656150616e67656150616e67 -iv 00000000000000000000000000000000 \
            </dev/zero 2>/dev/null || true
    else
        cat /dev/urandom
    fi
}

text | take text 35
programs | take program 30
{ every /usr/share -- \( -name '*.gz' -o -name '*.png' -o -name '*.jpg' -o -name '*.xz' \); programs | gzip -6n; } | take compressed 18
random | take random 12
take zero 5 </dev/zero
du -sb "$target" | cut -f1
