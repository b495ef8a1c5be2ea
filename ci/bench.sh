#!/usr/bin/env bash
# A smoke run of the benchmarks: that they run and their results are right, not how fast.
source "$(dirname "$0")/lib.sh"
cargo bench --bench ring -- --test
cargo bench --bench cells -- --test
cargo bench --bench locks -- --test
cargo run --release --manifest-path benches/rivals/Cargo.toml -- --quick --rounds 1
