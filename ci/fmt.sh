#!/usr/bin/env bash
# Formatting of every package.
source "$(dirname "$0")/lib.sh"
for manifest in Cargo.toml fuzz/Cargo.toml benches/rivals/Cargo.toml; do
    cargo fmt --check --manifest-path "$manifest"
done
