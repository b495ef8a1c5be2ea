//! What is killed: the operations of the crate, and some that are broken on purpose.

mod attach;
mod broken;
mod cell;
mod claim;
mod create;
mod item;
mod named;
mod pop;
mod push;
mod queue;
mod spawn;
mod stream;

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
        spawn::operations(),
        cell::operations(),
        queue::operations(),
    ];
    all.into_iter().flatten().collect()
}
