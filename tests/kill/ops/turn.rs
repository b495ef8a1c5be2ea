//! A process is killed while it waits to send a long object through a queue, is overtaken by others,
//! has room kept for it (`channel/objects/turn.rs`), and sends.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, OVER, Operation, Outcome, begin, end, is_asleep,
    sys,
};
use commons::{ChannelError, ObjectQueue, Segment, WaitStrategy};
use std::sync::atomic::Ordering::Relaxed;

const LABEL: &str = "objects";
/// Bytes of the queue: 16 grains.
const BYTES: usize = 256;
/// Objects of two grains that fill it.
const FILLS: usize = 8;

type Object = Vec<u8>;

/// Those that overtake.
fn small() -> Object {
    vec![1; 12]
}

/// One that comes when room is kept.
fn later() -> Object {
    vec![3; 12]
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let operation = |name, length| Box::new(Plan { name, length }) as Box<dyn Operation>;
    // In a row of half of the queue; as a long one, which waits for a quarter of it and has the lock then.
    vec![operation("objects/turn-row", 100), operation("objects/turn-long", 220)]
}

#[derive(Clone, Copy)]
struct Plan {
    name: &'static str,
    /// Bytes of the object that waits.
    length: usize,
}

impl Operation for Plan {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(128 << 10)?;
        let queue = ObjectQueue::<Object>::new_in(&segment, LABEL, BYTES)?;
        for _ in 0..FILLS {
            queue.try_send(&small())?;
        }
        Ok(Box::new(Overtaken { plan: *self, segment }))
    }
}

struct Overtaken {
    plan: Plan,
    segment: Segment,
}

/// What came out of the queue.
#[derive(Debug, Default)]
struct Came {
    small: usize,
    long: usize,
    later: usize,
}

impl Overtaken {
    fn open(&self) -> Result<ObjectQueue<Object>, Complaint> {
        let mut queue = ObjectQueue::open_in(&self.segment, LABEL)?;
        queue.set_wait_strategy(WaitStrategy::Park);
        Ok(queue)
    }

    fn long(&self) -> Object {
        vec![2; self.plan.length]
    }

    /// Takes what is there. Says whether there was anything.
    fn take(&self, queue: &ObjectQueue<Object>, came: &mut Came) -> Result<bool, Complaint> {
        let object = match queue.try_recv() {
            Ok(object) => object,
            Err(ChannelError::Empty) => return Ok(false),
            Err(other) => return Err(other.into()),
        };
        let count = match object {
            object if object == small() => &mut came.small,
            object if object == later() => &mut came.later,
            object if object == self.long() => &mut came.long,
            _ => return complain(Outcome::Lost, "an object is torn"),
        };
        *count += 1;
        Ok(true)
    }
}

impl Case for Overtaken {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let queue = self.open()?;
        let object = self.long();
        let other = ObjectQueue::<Object>::new(4 * BYTES)?;
        other.send(&object)?;
        other.recv()?;
        begin();
        queue.send(&object)?;
        ledger.pushed.store(1, Relaxed);
        end();
        std::mem::forget((queue, other));
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        Entrance::Ready
    }

    fn paced(&self) -> bool {
        true
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let queue = self.open()?;
        ledger.be_ready();
        let (mut came, mut sent) = (Came::default(), FILLS);
        if ledger.wait_nap(1) {
            // Overtakes the victim by a whole queue.
            for _ in 0..FILLS {
                self.take(&queue, &mut came)?;
                queue.try_send(&small())?;
                sent += 1;
            }
        }
        std::thread::scope(|scope| {
            // Waits for room, which is kept for the victim by then; and watches that.
            let (tell, told) = std::sync::mpsc::channel();
            let theirs = &queue;
            let waiting = scope.spawn(move || {
                let _ = tell.send(sys::own_thread());
                theirs.send(&later())
            });
            let thread = told.recv().expect("it tells");
            while !is_asleep(thread) && !waiting.is_finished() {
                sys::give_way();
            }
            ledger.keep_pace(1);
            if ledger.wait_nap(2) {
                for _ in 0..FILLS {
                    self.take(&queue, &mut came)?;
                }
            }
            ledger.keep_pace(u32::MAX);
            loop {
                let over = waiting.is_finished() && ledger.has_cue(OVER);
                if !self.take(&queue, &mut came)? {
                    if over {
                        break;
                    }
                    sys::give_way();
                }
            }
            waiting.join().expect("it returns").map_err(Complaint::from)
        })?;
        let pushed = ledger.pushed.load(Relaxed) as usize;
        if came.small != sent || came.later != 1 || came.long < pushed || came.long > 1 {
            let more = came.small > sent || came.later > 1 || came.long > 1;
            let outcome = if more { Outcome::Twice } else { Outcome::Lost };
            return complain(outcome, format!("{sent} sent, and {pushed} long; {came:?}"));
        }
        Ok(Outcome::Clean)
    }

    fn judge(&mut self, _: &'static Ledger) -> Judgement {
        let queue = self.open()?;
        // Nothing is kept for anybody.
        for length in [200, 12, 100, 12, 100, 30] {
            queue.try_send(&vec![4; length])?;
            if queue.len() != 1 || queue.try_recv()? != vec![4; length] {
                return complain(Outcome::Lost, "one object is not one");
            }
        }
        let mut count = 0;
        while queue.try_send(&small()).is_ok() {
            count += 1;
        }
        // One less where the end of the ring splits one.
        if count + 1 < FILLS || queue.try_iter().count() != count || !queue.is_empty() {
            return complain(Outcome::Lost, "the queue does not hold what it did");
        }
        Ok(Outcome::Clean)
    }
}
