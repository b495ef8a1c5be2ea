#!/usr/bin/env bash
# Kills processes at every state of every operation and asks the survivors: see tests/kill/main.rs.
#
#   ci/kill.sh [PART-OF-A-NAME...]
#
# KILL_MODE=every kills at every single instruction, KILL_STORM=10000 makes the storms long, and
# KILL_SEED repeats a run.
source "$(dirname "$0")/lib.sh"

# The code that users run, with the lines that the addresses of a failure belong to.
export CARGO_PROFILE_RELEASE_DEBUG=1
cargo test --quiet --release --test kill --no-run

# First that it would find something: what is broken on purpose has to be found, by the states alone.
KILL_SAMPLE=0 KILL_SELFTEST=1 cargo test --quiet --release --test kill
cargo test --quiet --release --test kill -- "$@"
