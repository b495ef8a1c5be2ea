#!/usr/bin/env bash
# Clippy with warnings as errors, for every package and with and without features.
source "$(dirname "$0")/lib.sh"
cargo clippy --all-targets --all-features -- -D warnings
cargo clippy --lib --no-default-features -- -D warnings
RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo clippy --lib --tests -- -D warnings
cargo clippy --manifest-path fuzz/Cargo.toml -- -D warnings
cargo clippy --manifest-path benches/rivals/Cargo.toml -- -D warnings
