//! What a [`Condvar`](super::Condvar) needs of the guard that a wait takes.

use super::LockError;

/// Guards that a [`Condvar`](super::Condvar) can wait with: of a [`Mutex`](super::Mutex), of a
/// [`RecursiveMutex`](super::RecursiveMutex) and of a [`LockedArray`](super::LockedArray).
///
/// The trait is implemented by the types of this crate alone.
#[allow(private_bounds, reason = "only the crate implements it")]
pub trait WaitGuard: Paused {
    /// What it guards, as conditions see it.
    type Value: ?Sized;

    /// Shows it what is guarded.
    #[doc(hidden)]
    fn look<R>(&mut self, look: impl FnOnce(&mut Self::Value) -> R) -> R;
}

/// What is not part of the public interface of [`WaitGuard`].
pub(super) trait Paused: Sized {
    /// What is left of the guard while its lock is let go.
    type Rest;

    /// Lets go of the lock.
    ///
    /// # Errors
    /// [`LockError::Forked`], where the lock is the parent's.
    fn pause(self) -> Result<Self::Rest, LockError>;

    /// Acquires it again.
    ///
    /// # Errors
    /// As acquiring it does.
    fn resume(rest: Self::Rest) -> Result<Self, LockError>;
}
