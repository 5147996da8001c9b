#!/bin/sh
# Builds the examples for the sandbox with whatever tools this machine has, and names what it skips.
#
#   guests/build.sh            into guests/built, and writes guests/built/SUMS
#   guests/build.sh --check    into a temporary folder: equal bytes where SUMS names the same tools; where it names others,
#                              the tests are run with what was built here
#
# Rust             the target wasm32-unknown-unknown (rustup target add wasm32-unknown-unknown); or, without it, a rustc
#                  that has its own source, of which std is then built (PANGEA_GUESTS_RUSTC may name it)
# C                clang and wasm-ld
# AssemblyScript   node and npm; the compiler comes from the registry, as package-lock.json pins it
#
# The hashes in SUMS come from `pangea task check`: PANGEA may name a program that has been built already.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."
root=$PWD
check=false
case "${1-}" in
--check) check=true ;;
"") ;;
*) sed -n '2,13s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac

rust="k-means lines matrix tour word-count"
c="grep lines-c tour-c"
assemblyscript="lines-as mandelbrot tour-as"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fresh=$work/built
mkdir "$fresh"
# Lines "module<tab>tools" of what was built.
made=$work/made
: >"$made"

skip() { echo "$1: skipped, $2"; }

build_rust() {
    rustc=${PANGEA_GUESTS_RUSTC:-rustc}
    command -v "$rustc" >/dev/null && command -v cargo >/dev/null || { skip Rust "there is no rustc or no cargo"; return; }
    sysroot=$("$rustc" --print sysroot)
    with= from= bootstrap=
    if [ ! -d "$sysroot/lib/rustlib/wasm32-unknown-unknown/lib" ]; then
        if [ ! -d "$sysroot/lib/rustlib/src/rust/library/core" ]; then
            skip Rust "$("$rustc" --version) has no target wasm32-unknown-unknown (rustup target add wasm32-unknown-unknown)"
            return
        fi
        with=-Zbuild-std=std,panic_abort from=", its std built from source" bootstrap=RUSTC_BOOTSTRAP=1
    fi
    # No path of this machine gets into a module.
    commit=$("$rustc" -vV | sed -n 's/^commit-hash: //p')
    flags="-C target-feature=+bulk-memory,+nontrapping-fptoint,+sign-ext,+mutable-globals -C link-arg=-zstack-size=65536"
    flags="$flags --remap-path-prefix=$root=pangea --remap-path-prefix=$sysroot/lib/rustlib/src/rust=/rustc/$commit"
    flags="$flags --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
    target=${PANGEA_GUESTS_TARGET:-${XDG_CACHE_HOME:-$HOME/.cache}/pangea-guests-target}
    for name in $rust; do
        # One by one: what one of them asks of a crate that they share is not what another does.
        # shellcheck disable=SC2086 # nothing or a word
        env $bootstrap RUSTC="$rustc" RUSTFLAGS="$flags" CARGO_INCREMENTAL=0 cargo build --quiet --locked --profile guest \
            --target wasm32-unknown-unknown --target-dir "$target" $with -p "$name"
        cp "$target/wasm32-unknown-unknown/guest/$(echo "$name" | tr - _).wasm" "$fresh/$name.wasm"
        printf '%s\t%s\n' "$name" "$("$rustc" --version)$from" >>"$made"
    done
}

build_c() {
    command -v clang >/dev/null && command -v wasm-ld >/dev/null || { skip C "there is no clang or no wasm-ld"; return; }
    clang --print-targets | grep -q wasm32 || { skip C "this clang has no target wasm32"; return; }
    tools="$(clang --version | head -n 1), $(wasm-ld --version)"
    for name in $c; do
        # tour-c is examples/tour/tour.c.
        source=guests/examples/${name%-c}/${name%-c}.c
        clang --target=wasm32 -std=c11 -O2 -Wall -Wextra -Werror -nostdlib -mbulk-memory -ffp-contract=off \
            -Wl,--no-entry,-z,stack-size=65536,--strip-all -o "$fresh/$name.wasm" "$source"
        printf '%s\t%s\n' "$name" "$tools" >>"$made"
    done
}

build_assemblyscript() {
    command -v node >/dev/null && command -v npm >/dev/null || { skip AssemblyScript "there is no node or no npm"; return; }
    folder=guests/assemblyscript
    compiler=$folder/node_modules/assemblyscript
    pinned=$(sed -n 's/.*"assemblyscript": "\([^"]*\)".*/\1/p' $folder/package.json)
    if ! grep -qF "\"version\": \"$pinned\"" $compiler/package.json 2>/dev/null; then
        npm ci --prefix $folder --silent --no-audit --no-fund >/dev/null 2>&1 || { skip AssemblyScript "npm cannot fetch its compiler"; return; }
    fi
    for name in $assemblyscript; do
        # tour-as is examples/tour/tour.ts.
        source=examples/${name%-as}/${name%-as}.ts
        # A module whose sources log has its errors logged as well; the others import nothing for them.
        abort=trap
        if grep -q 'log(' "guests/$source"; then abort=logged; fi
        (cd guests && node assemblyscript/node_modules/assemblyscript/bin/asc.js "$source" --runtime stub -O3 \
            --use abort=assemblyscript/pangea/$abort --outFile "$fresh/$name.wasm")
        printf '%s\tAssemblyScript %s\n' "$name" "$pinned" >>"$made"
    done
}

build_rust
build_c
build_assemblyscript

tab=$(printf '\t')
if $check; then
    others=
    while IFS=$tab read -r name tools; do
        if ! grep -qF "$tab$name.wasm$tab$tools" guests/built/SUMS; then
            echo "$name.wasm: built with $tools, which SUMS does not name: it is tested instead of compared"
            others=yes
        elif cmp -s "$fresh/$name.wasm" "guests/built/$name.wasm"; then
            echo "$name.wasm: the same"
        else
            echo "$name.wasm differs from what guests/built has: run guests/build.sh and commit what it makes" >&2
            exit 1
        fi
    done <"$made"
    if [ -n "$others" ]; then
        PANGEA_GUESTS_BUILT=$fresh cargo test --quiet -p pangea-compute --test guests
    fi
    exit
fi

mkdir -p guests/built
# What was not built here stays as it is.
touch guests/built/SUMS
grep -v '^#' guests/built/SUMS >"$work/sums" || true
while IFS=$tab read -r name tools; do
    cp "$fresh/$name.wasm" "guests/built/$name.wasm"
    chmod 644 "guests/built/$name.wasm"
    hash=$(${PANGEA:-cargo run --quiet --} task check "guests/built/$name.wasm" --json | sed 's/.*"module":"\([^"]*\)".*/\1/')
    grep -vF "$tab$name.wasm$tab" "$work/sums" >"$work/others" || true
    printf '%s\t%s\t%s.wasm\t%s\n' "$hash" "$(($(wc -c <"guests/built/$name.wasm")))" "$name" "$tools" >>"$work/others"
    mv "$work/others" "$work/sums"
done <"$made"
{
    printf '# BLAKE3\tbytes\tmodule\ttools; made by guests/build.sh\n'
    sort -t "$tab" -k 3 "$work/sums"
} >guests/built/SUMS
cat guests/built/SUMS
