#!/usr/bin/env bash
# Runs each fuzz target for some seconds. Coverage-guided, on stable.
#   ci/fuzz.sh [SECONDS]
source "$(dirname "$0")/lib.sh"
seconds=${1:-10}
host=$(rustc -vV | sed -n 's/^host: //p')
# For the host as a named target, so that build scripts and macros are not instrumented.
export CARGO_TARGET_DIR=target/fuzz
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions"
cargo build --release --manifest-path fuzz/Cargo.toml --target "$host"
shm=$(mktemp -d /dev/shm/commons-fuzz.XXXXXX)
trap 'rm -rf "$shm"' EXIT
for target in attach_bytes live_mutation operations; do
    mkdir -p "target/fuzz/corpus/$target" target/fuzz/artifacts
    echo "fuzz $target: $seconds seconds"
    COMMONS_SHM_DIR=$shm "target/fuzz/$host/release/$target" "target/fuzz/corpus/$target" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -max_len=4096 \
        -artifact_prefix=target/fuzz/artifacts/ -print_final_stats=1 2>&1 |
        grep -E 'stat::number_of_executed|ERROR|SUMMARY|panicked|DONE' || exit 1
    [[ ${PIPESTATUS[0]} == 0 ]] || exit 1
done
