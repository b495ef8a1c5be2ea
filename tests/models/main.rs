//! Models of the protocols, explored exhaustively: every interleaving of a few participants, each of
//! which may be killed before any of its steps, with sequentially consistent memory. (The memory
//! orderings are loom's business, in `src/raw/models*.rs`.)

mod barrier;
mod board;
mod explorer;
mod loan;
mod mutex;
mod objects;
mod queue;
mod rwlock;
