//! What the environment and the arguments ask for.

use super::rng::Rng;
use std::env;
use std::time::Duration;

/// What to run and how thoroughly.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `KILL_SEED`: what samples and storms are drawn from.
    pub(crate) seed: u64,
    /// `KILL_MODE=every`: kill at every instruction, not at a sample of those that change nothing.
    pub(crate) every: bool,
    /// `KILL_SAMPLE`: how many instructions that change nothing to kill at.
    pub(crate) sample: usize,
    /// `KILL_STORM`: kills of a storm.
    pub(crate) storm: usize,
    /// `KILL_SELFTEST=1`: run what is broken on purpose, and fail where that is not found.
    pub(crate) selftest: bool,
    /// `KILL_VERBOSE=1`.
    pub(crate) verbose: bool,
    /// How long a survivor may take.
    pub(crate) patience: Duration,
    /// Print the names and do nothing.
    pub(crate) list: bool,
    exact: bool,
    filters: Vec<String>,
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is to be a number, and is `{text}`")))
}

impl Settings {
    pub(crate) fn read() -> Self {
        let is_set = |name: &str| env::var(name).is_ok_and(|value| value != "0");
        let selftest = is_set("KILL_SELFTEST");
        let arguments: Vec<String> = env::args().skip(1).collect();
        let has = |option: &str| arguments.iter().any(|a| a == option);
        Settings {
            seed: number("KILL_SEED").unwrap_or_else(Rng::fresh_seed),
            every: env::var("KILL_MODE").is_ok_and(|mode| mode == "every"),
            sample: number("KILL_SAMPLE").unwrap_or(40) as usize,
            storm: number("KILL_STORM").unwrap_or(300) as usize,
            selftest,
            verbose: is_set("KILL_VERBOSE"),
            // What is broken on purpose is not worth waiting for.
            patience: if selftest { Duration::from_secs(1) } else { Duration::from_secs(20) },
            list: has("--list"),
            exact: has("--exact"),
            // Options are those of the standard test runner, which cargo may pass on.
            filters: arguments.into_iter().filter(|a| !a.starts_with('-')).collect(),
        }
    }

    /// Whether the arguments ask for what has this name.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let fits = |f: &String| if self.exact { name == f } else { name.contains(f.as_str()) };
        self.filters.is_empty() || self.filters.iter().any(fits)
    }
}
