#!/usr/bin/env bash
# The documentation, with warnings as errors; and that what must not compile fails for the reason that is
# said, which rustdoc compares where it may use what is unstable.
source "$(dirname "$0")/lib.sh"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --document-private-items
RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/codes" cargo test --doc --all-features
