//! Kills processes at every state of every operation that another process could notice, and asks the
//! survivors whether they still have everything, once, and can go on.
//!
//! One line for each operation, then `N passed, M failed`. Arguments are parts of the names to run.
//! Built without optimisation there are only the storms: `ci/kill.sh` does it all.
//!
//! | variable | for |
//! |---|---|
//! | `KILL_SEED` | the samples and storms of an earlier run |
//! | `KILL_MODE=every` | a kill at every single instruction |
//! | `KILL_SAMPLE` | how many instructions that change nothing are killed at, a situation |
//! | `KILL_STORM` | how many kills a storm has |
//! | `KILL_SELFTEST=1` | operations that are broken on purpose; fails where that is not found |
//! | `KILL_VERBOSE=1` | what became of the plan |

mod harness;
mod ops;
mod storm;

use harness::{Ledger, Operation, Outcome, Settings, Tally, supervise, sys};
use std::process::ExitCode;
use storm::STORMS;

fn main() -> ExitCode {
    let settings = Settings::read();
    if settings.list {
        let operations = ops::all().into_iter().map(|operation| operation.name());
        for name in operations.chain(STORMS.map(|storm| storm.name.to_owned())) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if !supervise::is_inner() {
        return supervise::run().unwrap_or_else(|error| {
            eprintln!("the supervisor failed: {error}");
            ExitCode::FAILURE
        });
    }
    sys::allow_descriptors();
    sys::calm_allocator();
    println!("seed {}", settings.seed);
    let results = if settings.selftest { selftest(&settings) } else { everything(&settings) };
    let passed = results.iter().filter(|good| **good).count();
    println!("{passed} passed, {} failed", results.len() - passed);
    if passed == results.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs what the arguments ask for, and says of each whether it kept its promises.
fn everything(settings: &Settings) -> Vec<bool> {
    let ledger = Ledger::share();
    let mut results = Vec::new();
    sys::pin(true);
    if cfg!(debug_assertions) {
        println!("only storms: it takes a release build to step the code that users run");
    } else {
        let wanted = ops::all().into_iter().filter(|operation| settings.wants(&operation.name()));
        results.extend(wanted.map(|operation| {
            let run = || harness::run(operation.as_ref(), settings, ledger);
            report(&operation.name(), settings, ledger, run, Tally::passed)
        }));
    }
    sys::pin(false);
    let wanted = STORMS.iter().filter(|storm| settings.wants(storm.name));
    results.extend(wanted.map(|storm| {
        report(storm.name, settings, ledger, || storm.run(settings, ledger), Tally::passed)
    }));
    results
}

/// Runs what is broken on purpose, and says of each whether that was found.
fn selftest(settings: &Settings) -> Vec<bool> {
    let ledger = Ledger::share();
    sys::pin(true);
    let find = |(operation, fault): (Box<dyn Operation>, Outcome)| {
        let run = || harness::run(operation.as_ref(), settings, ledger);
        report(&operation.name(), settings, ledger, run, |tally| tally.count(fault) > 0)
    };
    ops::broken().into_iter().map(find).collect()
}

/// Runs one of them in a process of its own, prints its line, and says whether it is good.
fn report(
    name: &str,
    settings: &Settings,
    ledger: &'static Ledger,
    run: impl FnOnce() -> Tally,
    is_good: impl Fn(&Tally) -> bool,
) -> bool {
    let done = harness::apart(ledger, || {
        let tally = run();
        tally.report(name, settings);
        is_good(&tally)
    });
    done.unwrap_or_else(|complaint| {
        let mut tally = Tally::default();
        tally.add(&Err(complaint), "between two kills");
        tally.report(name, settings);
        false
    })
}
