//! Children that are started by exec.
//!
//! They are other runs of this program, so it has a `main` of its own, which lets itself be one first.

#![allow(unsafe_code, reason = "descriptors and signals")]

#[path = "../common/mod.rs"]
mod common;
mod handles;
mod kills;
mod settings;
mod starts;

use common::watchdog;
use commons::process;
use std::panic::catch_unwind;

fn main() {
    process::entry();
    let arguments: Vec<_> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let mut failed = 0;
    let tests = starts::TESTS.iter().chain(handles::TESTS).chain(kills::TESTS);
    let tests = tests.chain(settings::TESTS);
    for (name, test) in tests {
        if !arguments.is_empty() && !arguments.iter().any(|wanted| name.contains(&**wanted)) {
            continue;
        }
        let _watchdog = watchdog();
        let result = catch_unwind(test);
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        failed += u8::from(result.is_err());
    }
    std::process::exit(i32::from(failed));
}

/// The names of these functions with them.
#[macro_export]
macro_rules! tests {
    ($($name:ident)*) => {
        pub(crate) const TESTS: &[(&str, fn())] = &[$((stringify!($name), $name)),*];
    };
}
