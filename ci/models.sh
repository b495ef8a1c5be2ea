#!/usr/bin/env bash
# Explores the models of tests/models, optimised: a debug build leaves the large ones out.
source "$(dirname "$0")/lib.sh"
# As ci/kill.sh, so that the library is built once.
export CARGO_PROFILE_RELEASE_DEBUG=1
cargo test --release --test models "$@"
