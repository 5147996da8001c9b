#!/bin/sh
# Regenerates protocols/src/generated/control_capnp.rs after a change of control.capnp.
# Needs `capnp` on PATH (Debian: capnproto and libcapnp-dev); the Rust side of the generator is a dev-dependency.
set -eu
cd "$(dirname "$0")/../.."
command -v capnp >/dev/null || { echo "error: capnp is not on PATH: apt-get install capnproto libcapnp-dev" >&2; exit 1; }
PANGEA_REGENERATE_SCHEMA=1 cargo test --quiet -p pangea-protocols --test schema_drift
