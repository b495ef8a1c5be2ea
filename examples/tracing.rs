//! What this crate logs, among the events of a program that uses `tracing`: its `log` bridge, which the
//! subscriber installs by itself, brings them there.
//!
//! `cargo run --example tracing --features log`

use commons::Process;
use commons::process::current;
use tracing::{Level, info, info_span};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .init();
    let child = Process::builder().name("worker").spawn(|| {
        let _span = info_span!("child", name = current().name()).entered();
        info!(answer = 42, "at work");
    })?;
    child.join()?;
    Ok(())
}
