#!/bin/sh
# Kills processes at every state of every operation and asks the survivors; see tests/kill/main.rs.
#
#   ci/kill.sh [PART-OF-A-NAME ...]
#
# KILL_MODE=every kills at every single instruction (hours become minutes with a filter);
# KILL_STORM=10000 makes the storms long; KILL_SEED repeats a run.
set -eu
cd "$(dirname "$0")/.."

# Release: the code that users run. Line tables: failures name an address in it.
CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
export CARGO_PROFILE_RELEASE_DEBUG

# First that it would find something: what is broken on purpose has to be found.
echo "self-test: the harness must find what is broken on purpose"
KILL_SELFTEST=1 cargo test --quiet --release --test kill

echo "the operations of the crate"
exec cargo test --quiet --release --test kill -- "$@"
