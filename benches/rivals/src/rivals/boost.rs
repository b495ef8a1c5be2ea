//! The message queue of Boost.Interprocess, a library of C++ headers: many to many, a lock and two
//! conditions in shared memory. `build.rs` compiles `boost.cpp` where it finds them.

/// Why there is nothing of it in a row.
pub(crate) const ABSENT: (&str, &str) = (
    "Boost message_queue",
    "its headers (libboost-dev), or a C++ compiler, were not there when this was built",
);

#[cfg(not(boost))]
pub(crate) use missing::{alone, rtt_park, rtt_poll, stream, two_two};
#[cfg(boost)]
pub(crate) use queue::{alone, rtt_park, rtt_poll, stream, two_two};

/// Whether it was compiled.
pub(crate) fn is_here() -> bool {
    cfg!(boost)
}

/// What no row runs.
#[cfg(not(boost))]
mod missing {
    use crate::peer::Plan;
    use crate::work::Result;

    macro_rules! missing {
        ($($name:ident)*) => {$(
            pub(crate) fn $name(_: &Plan) -> Result<f64> {
                Err(super::ABSENT.1.into())
            }
        )*};
    }

    missing!(alone stream two_two rtt_poll rtt_park);
}

#[cfg(boost)]
mod queue {
    use std::ffi::{CString, c_char, c_int};
    use std::io::Error;
    use std::ptr::NonNull;

    use super::super::message_queue::{self, MessageQueue};
    use crate::guard;
    use crate::peer::{self, Plan};
    use crate::work::{Result, WORDS, same, word};

    /// A queue of theirs.
    #[repr(C)]
    struct Boost([u8; 0]);

    // SAFETY: these are the functions of `boost.cpp`.
    unsafe extern "C" {
        fn boost_queue_new(name: *const c_char, count: usize) -> *mut Boost;
        fn boost_queue_delete(queue: *mut Boost);
        fn boost_queue_send(queue: *mut Boost, word: u64) -> c_int;
        fn boost_queue_recv(queue: *mut Boost, word: *mut u64) -> c_int;
        fn boost_queue_try_recv(queue: *mut Boost, word: *mut u64) -> c_int;
    }

    /// A queue of words.
    struct Queue(NonNull<Boost>);

    // SAFETY: it is made for any number of processes and threads, which it keeps apart by its lock.
    unsafe impl Send for Queue {}
    // SAFETY: as above.
    unsafe impl Sync for Queue {}

    fn failed() -> Error {
        Error::other("Boost's message queue threw an exception")
    }

    impl Queue {
        fn new() -> std::io::Result<Self> {
            let name = CString::new(guard::name("boost")).map_err(Error::other)?;
            // SAFETY: a name that ends.
            let queue = unsafe { boost_queue_new(name.as_ptr(), WORDS) };
            NonNull::new(queue).map(Queue).ok_or_else(failed)
        }

        /// Receives a word, looking for it all the time.
        fn poll(&self) -> std::io::Result<u64> {
            let mut word = 0;
            loop {
                // SAFETY: a live queue, and a live word.
                match unsafe { boost_queue_try_recv(self.0.as_ptr(), &raw mut word) } {
                    0 => return Ok(word),
                    1 => std::hint::spin_loop(),
                    _ => return Err(failed()),
                }
            }
        }
    }

    impl MessageQueue for Queue {
        fn send(&self, word: u64) -> std::io::Result<()> {
            // SAFETY: a live queue.
            let result = unsafe { boost_queue_send(self.0.as_ptr(), word) };
            if result == 0 { Ok(()) } else { Err(failed()) }
        }

        fn recv(&self) -> std::io::Result<u64> {
            let mut word = 0;
            // SAFETY: a live queue, and a live word.
            let result = unsafe { boost_queue_recv(self.0.as_ptr(), &raw mut word) };
            if result == 0 { Ok(word) } else { Err(failed()) }
        }
    }

    impl Drop for Queue {
        fn drop(&mut self) {
            // SAFETY: made by `new`, and deleted once.
            unsafe { boost_queue_delete(self.0.as_ptr()) };
        }
    }

    /// A word put and got, one process.
    pub(crate) fn alone(plan: &Plan) -> Result<f64> {
        message_queue::alone(plan, &Queue::new()?)
    }

    /// Words one by one.
    pub(crate) fn stream(plan: &Plan) -> Result<f64> {
        message_queue::stream(plan, &Queue::new()?)
    }

    /// Each of two processes has a thread that sends and one that receives.
    pub(crate) fn two_two(plan: &Plan) -> Result<f64> {
        message_queue::two_two(plan, &Queue::new()?)
    }

    /// A word there and back, polling.
    pub(crate) fn rtt_poll(plan: &Plan) -> Result<f64> {
        rtt(plan, Queue::poll)
    }

    /// A word there and back, asleep while it travels.
    pub(crate) fn rtt_park(plan: &Plan) -> Result<f64> {
        rtt(plan, Queue::recv)
    }

    fn rtt(plan: &Plan, receive: fn(&Queue) -> std::io::Result<u64>) -> Result<f64> {
        let (there, back) = (Queue::new()?, Queue::new()?);
        let think = plan.think();
        let pong = |n| {
            for _ in 0..n {
                let word = receive(&there)?;
                think.now();
                back.send(word)?;
            }
            Ok(n)
        };
        let ping = |n| {
            for i in 0..n {
                think.now();
                there.send(word(i))?;
                same(receive(&back)?, word(i))?;
            }
            Ok(n)
        };
        peer::forked(plan, || Ok(pong), || Ok(ping))
    }
}
