//! The statements of the semantics, each by its number.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "copies guards as a fork does")]

#[path = "../common/mod.rs"]
mod common;
mod lock;
mod queue;
