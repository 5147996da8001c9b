#!/bin/sh
# Runs rounds of k-means, each a job over the network, until no middle moves any more or 100 rounds are over.
#
#   k-means.sh CLUSTERS POINTS [COMMAND...]
#
# POINTS has a point per line. COMMAND is how a job is run, with the input's path after it and the result on standard
# output; by default: pangea job run built/k-means.wasm --map module --merge --quiet
set -eu
clusters=${1:?usage: k-means.sh CLUSTERS POINTS [COMMAND...]}
points=${2:?usage: k-means.sh CLUSTERS POINTS [COMMAND...]}
shift 2
[ $# -gt 0 ] || set -- pangea job run "$(dirname "$0")/../../built/k-means.wasm" --map module --merge --quiet

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "clusters $clusters" >"$work/middles"
round=0
while [ "$round" -lt 100 ]; do
    round=$((round + 1))
    cat "$work/middles" "$points" >"$work/input"
    "$@" "$work/input" >"$work/next"
    mv "$work/next" "$work/middles"
    sed -n "1s/^#/round $round:/p" "$work/middles" >&2
    if head -n 1 "$work/middles" | grep -q 'moved by up to 0$'; then break; fi
done
cat "$work/middles"
