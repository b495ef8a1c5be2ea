//! The rivals: each does the work of a row as one of its users would write it.

pub(crate) mod boost;
pub(crate) mod crossbeam;
mod descriptors;
pub(crate) mod iceoryx2;
pub(crate) mod ipc_channel;
mod message_queue;
pub(crate) mod newest;
pub(crate) mod pipe;
pub(crate) mod posix_mq;
pub(crate) mod process_sync;
pub(crate) mod python;
pub(crate) mod raw_sync;
pub(crate) mod raw_sync_lock;
pub(crate) mod rtrb;
pub(crate) mod seqpacket;
pub(crate) mod shmem_ipc;
pub(crate) mod std_lock;
pub(crate) mod threads;
