//! The `commons` command: moves bytes between terminals through shared memory, shows what lives
//! there, and cleans up.

mod failure;
mod gc;
mod json;
mod ls;
mod meeting;
mod os;
mod output;
mod progress;
mod receiver;
mod recv;
mod rm;
mod send;
mod stat;
mod text;
mod view;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Moves bytes between terminals through shared memory, shows what lives there, and cleans up.
///
/// Segments live in /dev/shm, or in the directory that COMMONS_SHM_DIR names.
#[derive(Debug, Parser)]
#[command(name = "commons", version, after_help = failure::EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Send(send::Arguments),
    Recv(recv::Arguments),
    Ls(ls::Arguments),
    Stat(stat::Arguments),
    Rm(rm::Arguments),
    Gc(gc::Arguments),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Send(arguments) => send::run(&arguments),
        Command::Recv(arguments) => recv::run(&arguments),
        Command::Ls(arguments) => ls::run(&arguments),
        Command::Stat(arguments) => stat::run(&arguments),
        Command::Rm(arguments) => rm::run(&arguments),
        Command::Gc(arguments) => gc::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            failure.code()
        }
    }
}
