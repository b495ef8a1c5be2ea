//! The statements of the semantics, each by its number.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "copies guards as a fork does, and elements in place")]

mod barrier;
#[path = "../common/mod.rs"]
mod common;
mod connection;
mod joinable;
mod list;
mod lock;
mod objects;
mod pool;
mod process;
mod queue;
mod segment;
mod start;
mod value;
mod wait;
