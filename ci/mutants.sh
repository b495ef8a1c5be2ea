#!/usr/bin/env bash
# Breaks the algorithms in one place at a time and shows that a model notices: one line per mutant,
# `caught` or `SURVIVED`. Fails if one survives, or if its place is not in the source any more.
#   ci/mutants.sh [FILTER]
# MUTANTS_SAMPLE=3 tries a third of them, another one for each commit.
source "$(dirname "$0")/lib.sh"
jobs=2
mutants=()

# NAME FILE PERL-SUBSTITUTION: one more, which the models of the group it stands in are to notice.
mutant() {
    if [[ $1 == *"$filter"* ]]; then
        mutants+=("$1" "$2" "$3" "$models")
    fi
}

# JOB NAME FILE PERL-SUBSTITUTION MODELS
try() {
    local job=$1 name=$2 file=$3 change=$4 models=$5 status=0
    local tree=target/mutants/tree-$job
    rm -rf "$tree"
    mkdir -p "$tree/benches"
    # The manifest names the tests, benches and examples, though they are not built here.
    cp -r Cargo.toml Cargo.lock README.md src tests examples "$tree/"
    cp benches/*.rs "$tree/benches/"
    perl -0pi -e "$change" "$tree/$file"
    if cmp -s "$file" "$tree/$file"; then
        echo "mutant $name: NOT IN THE SOURCE"
        return 1
    fi
    (
        cd "$tree"
        # Incremental: one line differs from one mutant to the next.
        export RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$OLDPWD/target/mutants/build-$job" CARGO_INCREMENTAL=1
        cargo test --release --lib --no-run -q 2>build.log || { cat build.log; exit 99; }
        timeout 300 cargo test --release --lib "raw::$models::" -q -- --test-threads=1 >run.log 2>&1
    ) || status=$?
    case $status in
    0) echo "mutant $name: SURVIVED"; return 1 ;;
    99 | 124) echo "mutant $name: DID NOT RUN ($status)"; return 1 ;;
    *) echo "mutant $name: caught" ;;
    esac
}

# JOB: every so many-th of them.
work() {
    local failures=0 i build=target/mutants/build-$1
    # What the models are built with, if they have been.
    if [[ ! -d $build && -d target/loom/release ]]; then
        mkdir -p "$build"
        cp -a target/loom/release "$build/"
    fi
    for ((i = 4 * $1; i < ${#mutants[@]}; i += 4 * jobs)); do
        try "$1" "${mutants[@]:i:4}" || failures=$((failures + 1))
    done
    return "$failures"
}

filter=${1:-}
# The models that are to notice.
models=models
ring=src/raw/ring.rs
cell=src/raw/wait_cell.rs
mutant tail-published-relaxed $ring 's/(ring\.lane\.tail\.store\(self\.lap\.wrapping_add\(slot \+ count\), )Release/${1}Relaxed/'
mutant express-tail-published-relaxed $ring 's/(        lane\.tail\.store\(tail, )Release/${1}Relaxed/'
mutant tail-read-relaxed $ring 's/(let tail = ring\.lane\.tail\.load\()Acquire(\);\n            count)/${1}Relaxed${2}/'
mutant head-released-relaxed $ring 's/(ring\.head\.head\.store\(self\.lap\.wrapping_add\(self\.slot\), )Release/${1}Relaxed/'
mutant head-read-relaxed $ring 's/(self\.limit = ring\.head\.head\.load\()Acquire/${1}Relaxed/'
mutant express-written-relaxed $ring 's/(word\.store\(copy, )Release/${1}Relaxed/'
mutant express-read-relaxed $ring 's/lane\.express\[(\d)\]\.load\(Acquire\)/lane.express[$1].load(Relaxed)/g'
mutant express-not-guarded $ring 's/\(ring\.lane\.open\.load\(Relaxed\) == self\.tail_seen\)\.then_some\(copy\)/Some(copy)/'
mutant express-opened-late $ring 's/(        lane\.open\.store\(tail, Relaxed\);\n)(.*?)(        lane\.tail\.store)/$2$1$3/s'
mutant express-not-withdrawn $ring 's/ring\.lane\.open\.store\(0, Relaxed\);//'
mutant express-of-older-item $ring 's/self\.tail_seen != self\.lap\.wrapping_add\(self\.slot \+ 1\)/self.tail_seen == self.lap.wrapping_add(self.slot)/'
mutant one-slot-too-many $ring 's/(self\.free_below = ring\.capacity\.min\(slot \+ count)\)/$1 + 1)/'
mutant one-item-too-many $ring 's/(self\.plain_below = ring\.capacity\.min\(slot \+ count)\.saturating_sub\(1\)\)/$1 + 1)/'
mutant consumer-not-woken $ring 's/ring\.control\.items\.wake\(\)/()/'
mutant producer-not-woken $ring 's/ring\.control\.space\.wake\(\)/()/'
mutant waker-without-barrier src/sync/barrier.rs 's/(mod model.*?fn light\(_registered: bool\) \{\n\s*)fence\(Ordering::SeqCst\);/$1/s'
mutant sleeper-without-barrier src/sync/barrier.rs 's/(mod model.*?fn heavy\(\) -> bool \{\n\s*)fence\(Ordering::SeqCst\);/$1/s'
mutant sleeper-not-announced $cell 's/self\.word\.fetch_or\(ANNOUNCED, Relaxed\) \| ANNOUNCED/self.word.load(Relaxed)/'
mutant wake-leaves-the-word $cell 's/\(w & 1 != 0\)\.then\(\|\| w\.wrapping_add\(1\)\)/(w & 1 != 0).then_some(w)/'
mutant wake-forgets-the-kernel $cell 's/futex::wake\(&self\.word, u32::MAX\);//'
mutant no-look-before-sleep src/wait/block.rs 's/(pub\(crate\) fn settle.*?\{\n)    if let Some\(output\) = wait\.poll\(\) \{\n        return Ok\(output\);\n    \}\n/$1/s'
mutant gone-before-drained src/wait/block.rs 's/wait\.poll\(\)\.unwrap_or\(gone\)/gone/'
mutant sleeper-deaf-to-the-beacon src/wait/block.rs 's/asleep\.other, Some/None, Some/'
mutant object-published-relaxed src/raw/publication.rs 's/(<< 32 \| LIVE, )Release/${1}core::sync::atomic::Ordering::Relaxed/'
mutant object-read-relaxed src/raw/publication.rs 's/self\.word\.load\(Acquire\)/self.word.load(core::sync::atomic::Ordering::Relaxed)/'
mutant role-left-relaxed src/raw/role.rs 's/(compare_exchange\(held, left, )AcqRel/${1}core::sync::atomic::Ordering::Relaxed/'
mutant role-read-relaxed src/raw/role.rs 's/(let word = self\.word\.load\()Acquire/${1}core::sync::atomic::Ordering::Relaxed/'
models=models_mutex
mutex=src/raw/mutex.rs
mutant mutex-released-relaxed $mutex 's/(compare_exchange\(list\.id\(\), 0, )Release/${1}Relaxed/g'
mutant mutex-acquired-relaxed $mutex 's/(compare_exchange\(0, list\.id\(\), )Acquire/${1}Relaxed/'
mutant mutex-taken-relaxed $mutex 's/(compare_exchange\(seen, mine, )Acquire/${1}Relaxed/'
mutant mutex-freed-relaxed $mutex 's/(word\.swap\(WAITERS, )Release/${1}Relaxed/'
mutant mutex-undoubted-relaxed $mutex 's/(compare_exchange\(doubt, 0, )Release/${1}Relaxed/'
mutant mutex-freed-as-glibc-does $mutex 's/word\.swap\(WAITERS, Release\)/word.swap(0, Release)/'
mutant mutex-wakes-nobody $mutex 's/futex::wake\(word, 1\) == 0/false/'
mutant mutex-doubt-wakes-nobody $mutex 's/(point\(Point::LockDoubted\);\n\s*)futex::wake\(word, u32::MAX\);/$1/'
mutant mutex-doubt-not-taken-away $mutex 's/\(seen \| WAITERS\) & !OWNER_DIED/seen | WAITERS/'
mutant mutex-settled-before-the-wake $mutex 's/(word\.swap\(WAITERS, Release\);)/$1 list.settled();/'
mutant mutex-thief-drops-the-mark $mutex 's/list\.id\(\) \| seen & WAITERS \| announced/list.id() | announced/'
mutant mutex-death-not-told $mutex 's/        if found != 0 \{\n            return Condition::of\(found\);\n        \}\n//'
models=models_latest
latest=src/raw/latest.rs
mutant version-published-relaxed $latest 's/(control\.current\.store\(number << INDEX_BITS \| next as u64, )Release/${1}Relaxed/'
mutant version-read-relaxed $latest 's/(let mut current = self\.control\.current\.load\()Acquire/${1}Relaxed/'
mutant newer-version-read-relaxed $latest 's/(let newer = self\.control\.current\.load\()Acquire/${1}Relaxed/'
mutant version-written-without-fence $latest 's/        fence\(Release\);\n//'
mutant version-read-without-fence $latest 's/            fence\(Acquire\);\n//'
mutant buffer-marked-relaxed $latest 's/(mark\.store\(number, )Release/${1}Relaxed/'
mutant buffer-mark-read-relaxed $latest 's/(let number = number\.load\()Acquire/${1}Relaxed/'
mutant buffer-marked-late $latest 's/(        mark\.store\(number, Release\);\n)(.*?)(        point\(Point::Written\);)/$2$1$3/s'
mutant buffer-not-looked-at $latest 's/if number == current >> INDEX_BITS \{/if true {/'
mutant current-buffer-written $latest 's/let next = self\.choose\(index\);/let next = index;/'
mutant reader-not-woken $latest 's/self\.control\.news\.wake\(\)/()/'
models=models_rwlock
rwlock=src/raw/rwlock
phase=src/raw/phase.rs
mutant rwlock-reader-not-ordered $rwlock/reader.rs 's/(point\(Point::ShareLinked\);\n\s*)barrier::after_exchange\(\);/$1/'
mutant rwlock-writer-not-ordered $rwlock/writer.rs 's/(point\(Point::WriterBegun\);\n\s*)barrier::after_exchange\(\);/$1/'
mutant rwlock-share-released-relaxed $rwlock/reader.rs 's/compare_exchange\(list\.id\(\), 0, Release, Relaxed\)/compare_exchange(list.id(), 0, Relaxed, Relaxed)/'
mutant rwlock-yields-in-silence $rwlock/reader.rs 's/if robust\.word\.fetch_or\(YIELDS, AcqRel\) & WAITERS != 0/if robust.word.fetch_or(YIELDS, AcqRel) == 0/'
mutant rwlock-writer-not-woken $rwlock/reader.rs 's/if old & WAITERS != 0/if old == 0/'
mutant phase-finished-relaxed $phase 's/(self\.word\.compare_exchange\(seen, to, )Release/${1}Relaxed/'
mutant phase-nobody-told $phase 's/(point\(Point::PhaseMoved\);\n        )futex::wake\(&self\.word, u32::MAX\);(\n        point\(Point::PhaseTold\))/$1$2/'
mutant phase-wake-of-the-door-kept $phase 's/door\.pass_wake_on\(\);//'
mutant phase-of-the-dead-stays $phase 's/door\.pass\(list, \|\| over\(self\)\);/door.pass(list, || ());/'

models=models_once
mutant once-read-relaxed $phase 's/(self\.word\.load\()Acquire(\) & !SLEEPERS == number)/${1}Relaxed$2/'
mutant once-beginning-not-told $phase 's/(old & SLEEPERS != 0 \|\| is_odd\(old\) \{\n\s*)futex::wake\(&self\.word, u32::MAX\);/$1/'

models=models_lending
lending=src/raw/lending.rs
mutant loan-ended-without-fence $lending 's/(before the look who has borrowed.*?\n)\s*fence\(SeqCst\);/$1/'
mutant loan-asked-without-fence $lending 's/(pairs with the one of `end`\.\n)\s*fence\(SeqCst\);/$1/'
mutant loan-not-ended $lending 's/if number & LENT != 0 \{/if false {/'
mutant loan-number-goes-back $lending 's/(store\(number\.)wrapping_add\(1\)/${1}wrapping_sub(1)/'

models=models_permits
permits=src/raw/permits.rs
mutant permits-returned-relaxed $permits 's/(robust\.word\.swap\(if sound \{ 0 \} else \{ BROKEN \}, )Release/${1}Relaxed/'
mutant permits-taken-relaxed $permits 's/(compare_exchange\(seen, mine, )Acquire/${1}Relaxed/'
mutant permits-returned-in-silence $permits 's/(PermitReturned\);\n\s*)futex::wake\(&robust\.word, u32::MAX\);/$1/'
mutant permits-returned-to-one $permits 's/futex::wake\(&robust\.word, u32::MAX\)/futex::wake(&robust.word, 1)/'
mutant permits-settled-before-the-wake $permits 's/(BROKEN \}, Release\);)/$1 list.settled();/'
mutant permits-thief-drops-the-mark $permits 's/list\.id\(\) \| seen & WAITERS \| announced/list.id() | announced/'
mutant permits-asleep-without-a-bell $permits 's/bell::arm_again\(bell\);/self.list.settled();/'
mutant permits-asleep-on-the-bell-alone $permits 's/watched\[\.\.=words\.len\(\)\]/watched[words.len()..=words.len()]/'

models=models_barrier
barrier=src/raw/barrier.rs
mutant barrier-arrival-relaxed $barrier 's/(compare_exchange\(seen, seen \+ 1, )AcqRel/${1}Relaxed/'
mutant barrier-end-relaxed $barrier 's/fetch_update\(AcqRel, Relaxed, next\)/fetch_update(Relaxed, Relaxed, next)/'
mutant barrier-verdict-relaxed $barrier 's/(let state = self\.control\.state\.load\()Acquire(\);\n        if \(state \^)/${1}Relaxed$2/'
mutant barrier-count-relaxed $barrier 's/(\(self\.control\.state\.load\()Acquire(\) & ARRIVED)/${1}Relaxed$2/'
mutant barrier-end-in-silence $barrier 's/self\.control\.ended\.pulse\(\);//'
mutant barrier-ender-without-bell $barrier 's/let armed = bell::arm\(self\.control\.ended\.bell\(\)\);//; s/bell::disarm\(armed\);//'
mutant barrier-room-not-told $barrier 's/(compare_exchange\(stamp, 0, Release, Relaxed\);\n        )self\.control\.room\.pulse\(\);/$1/'
mutant barrier-round-not-counted $barrier 's/turn\.state\.wrapping_add\(ROUND\)/turn.state/'

models=models_signals
semaphore=src/raw/semaphore.rs
event=src/raw/event.rs
condvar=src/raw/condvar.rs
mutant bell-not-armed-by-sleepers src/wait/shared.rs 's/let armed = bell::arm\(bell\);//; s/bell::disarm\(armed\);//'
mutant bell-not-passed-on src/wait/shared.rs 's/woken == Some\(1\)/false/'
mutant bell-not-watched src/wait/shared.rs 's/&\[\(word, expected\), \(bell, 0\)\]/&[(word, expected)]/'
mutant permit-released-relaxed $semaphore 's/(seen \+ permits, )Release/${1}Relaxed/g'
mutant permit-acquired-relaxed $semaphore 's/(seen - 1, )Acquire/${1}Relaxed/'
mutant second-set-relaxed $semaphore 's/(compare_exchange\(seen, seen, )Release/${1}Relaxed/'
mutant releaser-without-bell $semaphore 's/let armed = bell::arm\(&self\.bell\);//; s/bell::disarm\(armed\);//'
mutant flag-dropped-without-doubt $semaphore 's/self\.doubt\(\);/self.word.fetch_and(MOST, Relaxed);/'
mutant releaser-wakes-nobody $semaphore 's/futex::wake\(&self\.word, permits\) < permits/false/'
mutant event-set-relaxed $event 's/(compare_exchange(?:_weak)?\(seen, next, )Release/${1}Relaxed/g'
mutant event-read-relaxed $event 's/self\.event\.word\.load\(Acquire\)/self.event.word.load(Relaxed)/'
mutant event-without-generation $event 's/ \|\| seen \/ ONE != self\.sets//'
mutant setter-without-bell $event 's/let armed = bell::arm\(&self\.bell\);//; s/bell::disarm\(armed\);//'
mutant setter-wakes-one $event 's/futex::wake\(&self\.word, u32::MAX\)/futex::wake(\&self.word, 1)/'
mutant notifier-without-bell $condvar 's/let armed = bell::arm\(&self\.bell\);//g; s/bell::disarm\(armed\);//g'
mutant notify-changes-nothing $condvar 's/self\.word\.fetch_add\(ONE, Relaxed\)/self.word.fetch_add(0, Relaxed)/'
mutant flag-dropped-without-wake $condvar 's/(SignalDoubted\);\n\s*)futex::wake\(&self\.word, u32::MAX\);/$1/'

models=models_queue
queue=src/raw/queue.rs
mutant message-published-relaxed $queue 's/(Word::pack\(claim\.lap, FULL, 0\)\.0, )Release/${1}Relaxed/'
mutant message-claimed-relaxed $queue 's/(full\.0, mine\.0, )AcqRel/${1}Relaxed/; s/(let seen = Word\(slot\.load\()Acquire(\)\);\n            let ahead = seen\.laps_from\(at\.lap\);\n            if ahead == 0 && seen\.state\(\) == FULL.*?seen\.0, mine\.0, )AcqRel/${1}Relaxed${2}Relaxed/s'
mutant slot-freed-relaxed $queue 's/(word\(self\)\.store\(freed\.0, )Release/${1}Relaxed/'
mutant slot-freed-for-the-same-lap src/raw/queue/words.rs 's/self\.lap\(\)\.wrapping_add\(1\), FREE/self.lap(), FREE/'
mutant consumers-of-the-queue-not-woken $queue 's/self\.control\.items\.wake\(\)/()/'
mutant producers-of-the-queue-not-woken $queue 's/self\.control\.space\.wake\(\)/()/'
mutant lost-message-not-counted $queue 's/            self\.count_lost\(index, word\);\n//'

models=models_broadcast
broadcast=src/raw/broadcast.rs
mutant broadcast-published-relaxed $broadcast 's/(mark\.store\(complete, )Release/${1}Relaxed/'
mutant broadcast-read-relaxed $broadcast 's/(let seen = mark\.load\()Acquire/${1}Relaxed/'
mutant broadcast-written-without-fence $broadcast 's/        fence\(Release\);\n//'
mutant broadcast-read-without-fence $broadcast 's/            fence\(Acquire\);\n//'
mutant broadcast-not-marked $broadcast 's/        mark\.store\(complete - 1, Relaxed\);\n//'
mutant broadcast-not-looked-at-again $broadcast 's/(let seen = mark\.load\(Relaxed\);\n\s*)if seen == complete/$1if true/'
mutant broadcast-keeps-one-less $broadcast 's/let next = if self\.behind \{ sent - 1 \} else \{ sent - ring\.kept\(\)\.min\(sent\) \}/let next = sent - 1/'
mutant broadcast-counted-relaxed $broadcast 's/(ring\.control\.sent\.store\(self\.place\.number, )Release/${1}Relaxed/'
mutant broadcast-successor-counts-nothing $broadcast 's/            place = place\.next\(ring\);\n//'
mutant broadcast-receivers-not-woken $broadcast 's/self\.control\.news\.wake\(\)/()/'

models=models_board
board=src/raw/board.rs
mutant board-task-relaxed $board 's/(word\.store\(pack\(FULL, 0, ticket\), )Release/${1}Relaxed/; s/(posted\.store\(end, )Release/${1}Relaxed/'
mutant board-posted-relaxed $board 's/(posted\.store\(end, )Release/${1}Relaxed/'
mutant board-posted-read-relaxed $board 's/(posted\.load\()Acquire/${1}Relaxed/'
mutant board-outcome-relaxed $board 's/(word\.store\(pack\(DONE, 0, ticket\), )Release/${1}Relaxed/'
mutant board-outcome-read-relaxed $board 's/(word\.load\()Acquire(\) >> STATE_SHIFT \{)/${1}Relaxed$2/'
mutant board-burial-relaxed $board 's/(compare_exchange\(seen, died, )AcqRel/${1}Relaxed/'
mutant board-dead-not-buried $board 's/let died = pack\(DIED, seat, seen\);/let died = seen;/'
mutant board-hint-goes-ahead $board 's/next\.store\(at \+ 1, Relaxed\)/next.store(posted, Relaxed)/'
mutant board-taken-without-exchange $board 's/\&\& word\.compare_exchange\(full, mine, Acquire, Relaxed\)\.is_ok\(\)/\&\& { word.store(mine, Relaxed); true }/'
mutant board-one-worker-woken-for-all src/raw/wait_cell.rs 's/self\.word\.fetch_or\(ANNOUNCED, Relaxed\);\n        \}/}/'
mutant board-owner-not-told-of-the-last $board 's/self\.control\.news\(\)\.wake\(\);/();/'
mutant board-death-not-told $board 's/self\.control\.news\(\)\.rouse\(\);/();/'
mutant board-workers-not-called $board 's/self\.control\.work\.wake_some\(tasks\);/();/'

models=models_objects
objects=src/raw/objects.rs
flight=src/raw/objects/in_flight.rs
mutant objects-published-relaxed $objects 's/(self\.at\.store\(self\.mine\(\)\.on\(grains, messages\)\.0, )Release/${1}Relaxed/'
mutant objects-read-relaxed $objects 's/(let written = self\.shared\.write\.at\.load\()Acquire/${1}Relaxed/'
mutant objects-space-read-relaxed $objects 's/(let read = self\.shared\.read\.at\.load\()Acquire(\);\n            seen)/${1}Relaxed${2}/'
mutant objects-one-grain-too-many $objects 's/\{ self\.capacity - used \} else/{ self.capacity - used + 1 } else/'
mutant objects-nobody-woken $objects 's/            cell\.wake\(\);//'
mutant objects-finished-too-early $objects 's/self\.shared\.write\.at\.load\(Acquire\) == before && self\.fill\(\)\.1 == 0/true/'
mutant objects-claim-of-the-dead-stays $flight 's/word & STATE == HELD && entry\.before\.load\(Relaxed\) == at/false/'
mutant objects-lost-though-still-there $flight 's/HELD if self\.is_still_there\(entry\) => \{\}//'
mutant objects-loss-not-counted $flight 's/one_more_lost\(losses\) \| FREE/losses | FREE/'

if [[ -n ${MUTANTS_SAMPLE:-} ]]; then
    sample=()
    for ((i = 4 * (0x$(git rev-parse HEAD | cut -c1-6) % MUTANTS_SAMPLE); i < ${#mutants[@]}; i += 4 * MUTANTS_SAMPLE)); do
        sample+=("${mutants[@]:i:4}")
    done
    mutants=("${sample[@]}")
fi

pids=()
for ((job = 0; job < jobs; job++)); do
    work "$job" &
    pids+=($!)
done
failures=0
for pid in "${pids[@]}"; do
    wait "$pid" || failures=$((failures + $?))
done
[[ $failures == 0 ]] || { echo "$failures mutants are not caught"; exit 1; }
echo "$((${#mutants[@]} / 4)) mutants, all caught"
