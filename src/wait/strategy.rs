//! What a blocking operation does while it waits.

/// What a blocking operation does while it waits.
///
/// A round trip over two processors costs about 0.1 us spinning and 10 to 60 us if both sides sleep;
/// on one processor, spinning only keeps the peer from running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitStrategy {
    /// Polls without end: the shortest latency, for those who own their processor. Notices the
    /// peer's death as the others do.
    Spin,
    /// Polls for about 1 us, gives way to other processes until 20 us have passed, then sleeps.
    #[default]
    SpinThenPark,
    /// Sleeps at once if there is nothing: the least work for the processor.
    Park,
}
