#!/usr/bin/env bash
# The documentation, with warnings as errors.
source "$(dirname "$0")/lib.sh"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --document-private-items
