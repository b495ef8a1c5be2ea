//! What is killed: the operations of the crate, and some that are broken on purpose.

mod attach;
mod barrier;
mod broadcast;
mod broken;
mod cell;
mod claim;
mod create;
mod elements;
mod handle;
mod item;
mod loan;
mod lock;
mod mutex;
mod named;
mod objects;
mod pipe;
mod pop;
mod push;
mod queue;
mod records;
mod signal;
mod spawn;
mod stream;
mod turn;
mod waiters;

use crate::harness::Operation;

pub(crate) use broken::operations as broken;
pub(crate) use item::{Author, Item, Large, Small};
pub(crate) use stream::complain;

/// Every operation.
pub(crate) fn all() -> Vec<Box<dyn Operation>> {
    let all = [
        push::operations(),
        pop::operations(),
        claim::operations(),
        create::operations(),
        attach::operations(),
        mutex::operations(),
        signal::operations(),
        spawn::operations(),
        cell::operations(),
        elements::operations(),
        lock::operations(),
        loan::operations(),
        waiters::operations(),
        barrier::operations(),
        queue::operations(),
        records::operations(),
        objects::operations(),
        turn::operations(),
        broadcast::operations(),
        pipe::operations(),
        handle::operations(),
    ];
    all.into_iter().flatten().collect()
}
