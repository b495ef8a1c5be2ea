//! Why a lock was not acquired, or a barrier not passed.

use crate::Error;
use crate::raw::mutex::{Condition, Refusal};
use std::io;

/// Why a lock was not acquired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The last owner died while it held the lock, and nobody has repaired what it left since.
    #[error(
        "process {pid} died while it held the lock; check the value with `recover`, `lock_or_repair` or `write_or_repair`"
    )]
    OwnerDied {
        /// Its process.
        pid: u32,
    },
    /// A thread panicked while it held the lock, or let go of elements in doubt
    /// ([`ArrayGuard::is_in_doubt`](crate::ArrayGuard)), and nobody has repaired what it left since.
    #[error(
        "a holder of the lock panicked or left its work undone; check the value with `recover`, `lock_or_repair` or `write_or_repair`, or call `clear_poison`"
    )]
    Poisoned,
    /// The calling thread holds the lock.
    #[error("the calling thread holds the lock already, and would wait for itself for ever")]
    Deadlock,
    /// The calling thread holds as many locks as the kernel can release at its death.
    #[error("the calling thread holds 1024 locks, which is the limit; release some first")]
    TooManyLocks,
    /// The deadline passed; only from timed forms.
    #[error("timed out")]
    TimedOut,
    /// Somebody else holds the lock; only from `try_` forms.
    #[error("the lock is held by somebody else")]
    WouldBlock,
    /// The handle came into this process by a fork, and what it led to is gone by now.
    #[error(
        "this handle belongs to the parent process; move it into the closure of `Process::spawn` to hand it over"
    )]
    Forked,
    /// The lock was made in another pid namespace, where the same id means another thread.
    #[error(
        "the lock was made in another pid namespace; use locks between processes of one namespace only"
    )]
    OtherPidNamespace,
    /// The kernel would not release the lock at the death of this thread.
    #[error(
        "this thread has no robust list in the form of glibc; locks need Linux itself and a program linked with glibc"
    )]
    NoRobustList,
    /// The shared memory contradicts itself, or the value is none of its type.
    #[error("the lock is corrupted: {0}")]
    Corrupted(&'static str),
}

impl LockError {
    /// Of a lock that was waited for until a deadline.
    pub(super) fn of(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy => LockError::TimedOut,
            Refusal::Own => LockError::Deadlock,
            Refusal::TooMany => LockError::TooManyLocks,
            Refusal::Broken => LockError::Corrupted("the links of its last owner were overwritten"),
        }
    }

    /// Of a lock that was not waited for. That the caller has it itself is no deadlock then.
    pub(super) fn of_try(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy | Refusal::Own => LockError::WouldBlock,
            other => Self::of(other),
        }
    }

    /// What an owner found that it is told of.
    pub(super) fn of_condition(condition: Condition) -> Option<Self> {
        match condition {
            Condition::Clean => None,
            Condition::Poisoned => Some(LockError::Poisoned),
            Condition::OwnerDied { pid } => Some(LockError::OwnerDied { pid }),
        }
    }
}

impl From<Error> for LockError {
    fn from(error: Error) -> Self {
        match error {
            Error::Corrupted { problem, .. } => LockError::Corrupted(problem),
            Error::Forked => LockError::Forked,
            Error::OtherPidNamespace { .. } => LockError::OtherPidNamespace,
            _ => LockError::Corrupted("the operating system refused to tell who is alive"),
        }
    }
}

impl From<LockError> for io::Error {
    fn from(error: LockError) -> Self {
        let kind = match error {
            LockError::WouldBlock => io::ErrorKind::WouldBlock,
            LockError::TimedOut => io::ErrorKind::TimedOut,
            LockError::Deadlock => io::ErrorKind::Deadlock,
            LockError::Forked | LockError::OtherPidNamespace => io::ErrorKind::PermissionDenied,
            LockError::NoRobustList => io::ErrorKind::Unsupported,
            LockError::OwnerDied { .. } | LockError::Poisoned | LockError::Corrupted(_) => {
                io::ErrorKind::InvalidData
            }
            LockError::TooManyLocks => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// Why a wait at a [`Barrier`](crate::Barrier) failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// Another party gave up: it timed out, its action failed, or it called `abort` or `reset`.
    #[error("the barrier is broken, or was reset while the caller waited; `reset` makes it whole")]
    Broken,
    /// The caller's own time was over. The barrier is broken by that.
    #[error("timed out before all parties had arrived; the barrier is broken until it is `reset`")]
    TimedOut,
    /// A process died that others wait for.
    #[error(
        "{} died, and others wait for it; the barrier is broken until it is `reset`",
        .pid.map_or("a process".to_owned(), |pid| format!("process {pid}"))
    )]
    MemberDied {
        /// Its id, in its own pid namespace, where it is known.
        pid: Option<u32>,
    },
    /// The handle came into this process by a fork, and what it led to is gone by now.
    #[error(
        "this handle belongs to the parent process; move it into the closure of `Process::spawn` to hand it over"
    )]
    Forked,
    /// The operating system refused to say who is alive, or to let this process take part.
    #[error("the barrier could not be used: {0}")]
    Os(String),
    /// The shared memory contradicts itself.
    #[error("the barrier is corrupted: {0}")]
    Corrupted(&'static str),
}

impl From<Error> for BarrierError {
    fn from(error: Error) -> Self {
        match error {
            Error::Corrupted { problem, .. } => BarrierError::Corrupted(problem),
            Error::Forked => BarrierError::Forked,
            other => BarrierError::Os(other.to_string()),
        }
    }
}

impl From<BarrierError> for io::Error {
    fn from(error: BarrierError) -> Self {
        let kind = match error {
            BarrierError::TimedOut => io::ErrorKind::TimedOut,
            BarrierError::Forked => io::ErrorKind::PermissionDenied,
            BarrierError::Corrupted(_) => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
