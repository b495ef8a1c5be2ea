#!/usr/bin/env bash
# Model-checks the algorithms: one line per model and futex, with its executions.
#   ci/loom.sh [FILTER]
source "$(dirname "$0")/lib.sh"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
    cargo test --release --lib "${1:-models}" -- --nocapture --test-threads=1 >"$log" 2>&1 ||
    { cat "$log"; exit 1; }
grep -o 'loom .*' "$log"
grep '^test result' "$log"
