#!/usr/bin/env bash
# A smoke run of the benchmarks: that they run and their results are right, not how fast.
source "$(dirname "$0")/lib.sh"
benches=()
for file in benches/*.rs; do
    benches+=(--bench "$(basename "$file" .rs)")
done
cargo bench "${benches[@]}" -- --test
cargo run --release --manifest-path benches/rivals/Cargo.toml -- --quick --rounds 1
