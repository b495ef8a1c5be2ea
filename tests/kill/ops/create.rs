//! A process is killed while it makes something that others find by a name or a label, or while it
//! takes a label away.

use super::item::{Author, Item, Small};
use super::named::{Named, files};
use super::stream::{complain, consumer, producer, take};
use crate::harness::{Case, Complaint, Judgement, Ledger, Operation, Outcome, begin, end};
use commons::spsc::{self, Ring};
use commons::{Error, Origin, Segment};

const NAME: &str = "create";
const CAPACITY: usize = 4;
/// A label of several words.
const LONG_LABEL: &str = "a label that is longer than one or two words of memory";

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A named segment.
    Segment,
    /// A named ring.
    Ring,
    /// A labelled ring in a segment: at its end; in the place of one that the victim removed; in the
    /// place of one that another removed, because there is no more room.
    Label,
    /// The label of one is removed.
    Remove,
    /// A ring in the memory that a family of processes shares: in a place that was never used, or
    /// in the place of one that the victim dropped.
    Nameless,
}

struct Creating(What);

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let all = [What::Segment, What::Ring, What::Label, What::Remove, What::Nameless];
    all.into_iter().map(|what| Box::new(Creating(what)) as Box<dyn Operation>).collect()
}

impl Operation for Creating {
    fn name(&self) -> String {
        let name = match self.0 {
            What::Segment => "segment/create",
            What::Ring => "ring/create",
            What::Label => "ring/new_in",
            What::Remove => "segment/remove",
            What::Nameless => "ring/new",
        };
        name.to_owned()
    }

    fn variants(&self) -> u32 {
        match self.0 {
            What::Segment | What::Ring | What::Remove => 1,
            What::Label => 3,
            What::Nameless => 2,
        }
    }

    fn stage(&self, variant: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        match self.0 {
            What::Segment | What::Ring => {
                Ok(Box::new(Name { ring: self.0 == What::Ring, name: Named(NAME) }))
            }
            What::Label => {
                let room = if variant == 2 { 3 << 10 } else { 16 << 10 };
                let segment = Segment::anonymous(room)?;
                drop(Ring::<Small>::new_in(&segment, "other", CAPACITY)?);
                if variant == 2 {
                    // As many as there is room for, of which another process removed one.
                    drop(Ring::<Small>::new_in(&segment, NAME, CAPACITY)?);
                    while Ring::<Small>::new_in(&segment, &spare(&segment)?, CAPACITY).is_ok() {}
                    segment.remove(NAME)?;
                }
                Ok(Box::new(Label { segment, variant }))
            }
            What::Remove => {
                let segment = Segment::anonymous(16 << 10)?;
                drop(Ring::<Small>::new_in(&segment, LONG_LABEL, CAPACITY)?);
                drop(Ring::<Small>::new_in(&segment, "other", CAPACITY)?);
                Ok(Box::new(Remove { segment }))
            }
            // The memory is the harness's before anybody forks.
            What::Nameless => Ok(Box::new(Nameless { ends: spsc::ring(CAPACITY)?, variant })),
        }
    }
}

fn spare(segment: &Segment) -> Result<String, Complaint> {
    Ok(format!("spare {}", segment.objects()?.len()))
}

/// Sends a few items through a new ring.
fn try_out(ring: &Ring<Small>, ledger: &Ledger) -> Result<(), Complaint> {
    let (mut producer, mut consumer) = (producer(ring)?, consumer(ring)?);
    use_ends(&mut producer, &mut consumer, ledger)
}

fn use_ends(
    producer: &mut spsc::Producer<Small>,
    consumer: &mut spsc::Consumer<Small>,
    ledger: &Ledger,
) -> Result<(), Complaint> {
    for _ in 0..2 * CAPACITY {
        let number = ledger.received.load(std::sync::atomic::Ordering::Relaxed);
        let item = Item::new(number, Author::Judge);
        producer.try_push(item).map_err(|rejected| rejected.reason)?;
        take(&consumer.try_pop()?, ledger)?;
    }
    Ok(())
}

struct Name {
    ring: bool,
    name: Named,
}

impl Name {
    fn make(&self, name: &str) -> Result<(), Complaint> {
        if self.ring {
            std::mem::forget(Ring::<Small>::create(name, CAPACITY)?);
        } else {
            std::mem::forget(Segment::create(name, 8 << 10)?);
        }
        Ok(())
    }
}

impl Case for Name {
    fn victim(&mut self, _: &'static Ledger) -> Result<(), Complaint> {
        self.make("warm")?;
        Segment::unlink("warm")?;
        begin();
        self.make(self.name.0)?;
        end();
        Ok(())
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut there = files();
        there.retain(|file| file != NAME);
        if !there.is_empty() {
            return complain(Outcome::Lost, format!("the dead left {there:?} behind"));
        }
        let outcome = if self.ring {
            let (ring, origin) = Ring::<Small>::open_or_create(NAME, CAPACITY)?;
            try_out(&ring, ledger)?;
            origin
        } else {
            let (segment, origin) = Segment::open_or_create(NAME, 8 << 10)?;
            if !segment.objects()?.is_empty() {
                return complain(Outcome::Twice, "a new segment has objects");
            }
            try_out(&Ring::new_in(&segment, "ring", CAPACITY)?, ledger)?;
            origin
        };
        Segment::unlink(NAME)?;
        Ok(outcome_of(outcome))
    }
}

/// Complete, and its maker dead; or not there.
fn outcome_of(origin: Origin) -> Outcome {
    if origin == Origin::Opened { Outcome::OwnerDied } else { Outcome::Clean }
}

struct Label {
    segment: Segment,
    variant: u32,
}

impl Case for Label {
    fn victim(&mut self, _: &'static Ledger) -> Result<(), Complaint> {
        match self.variant {
            0 => {
                drop(Ring::<Small>::new_in(&self.segment, "warm", CAPACITY)?);
            }
            1 => {
                drop(Ring::<Small>::new_in(&self.segment, NAME, CAPACITY)?);
                self.segment.remove(NAME)?;
            }
            _ => drop(Ring::<Small>::open_in(&self.segment, "other")?),
        }
        begin();
        std::mem::forget(Ring::<Small>::new_in(&self.segment, NAME, CAPACITY)?);
        end();
        Ok(())
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let segment = &self.segment;
        let (ring, origin) = Ring::<Small>::open_or_create_in(segment, NAME, CAPACITY)?;
        try_out(&ring, ledger)?;
        drop(ring);
        let labels: Vec<_> = segment.objects()?.into_iter().filter_map(|o| o.label).collect();
        if labels.iter().filter(|label| *label == NAME).count() != 1 {
            return complain(Outcome::Twice, format!("the labels are {labels:?}"));
        }
        try_out(&Ring::open_in(segment, "other")?, ledger)?;
        // What the dead held keeps nothing from being used again.
        segment.remove(NAME)?;
        let again = Ring::<Small>::new_in(segment, NAME, CAPACITY)?;
        try_out(&again, ledger)?;
        match Ring::<Small>::new_in(segment, NAME, CAPACITY) {
            Err(Error::LabelTaken { .. }) => Ok(outcome_of(origin)),
            Err(other) => Err(other.into()),
            Ok(_) => complain(Outcome::Twice, "one label was given twice"),
        }
    }
}

struct Remove {
    segment: Segment,
}

impl Case for Remove {
    fn victim(&mut self, _: &'static Ledger) -> Result<(), Complaint> {
        self.segment.remove("other")?;
        begin();
        self.segment.remove(LONG_LABEL)?;
        end();
        Ok(())
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let segment = &self.segment;
        let labels: Vec<_> = segment.objects()?.into_iter().filter_map(|o| o.label).collect();
        let opened = Ring::<Small>::open_in(segment, LONG_LABEL);
        match (labels.as_slice(), &opened) {
            ([label], Ok(_)) if label == LONG_LABEL => {}
            ([], Err(Error::LabelNotFound { .. })) => {}
            _ => {
                let opened = opened.map_or_else(|e| e.to_string(), |_| "it opens".to_owned());
                let text = format!("half removed: the labels are {labels:?}, and {opened}");
                return complain(Outcome::Lost, text);
            }
        }
        let was_there = opened.is_ok();
        drop(opened);
        if was_there {
            segment.remove(LONG_LABEL)?;
        }
        try_out(&Ring::new_in(segment, LONG_LABEL, CAPACITY)?, ledger)?;
        Ok(if was_there { Outcome::OwnerDied } else { Outcome::Clean })
    }
}

struct Nameless {
    ends: (spsc::Producer<Small>, spsc::Consumer<Small>),
    variant: u32,
}

impl Case for Nameless {
    fn victim(&mut self, _: &'static Ledger) -> Result<(), Complaint> {
        let warm = spsc::ring::<Small>(CAPACITY)?;
        if self.variant == 0 {
            std::mem::forget(warm);
        } else {
            drop(warm);
        }
        begin();
        std::mem::forget(spsc::ring::<Small>(CAPACITY)?);
        end();
        Ok(())
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        // Theirs, who have nothing to do with it. A copy says so.
        if self.ends.0.try_push(Item::new(0, Author::Judge)).is_ok()
            || self.ends.1.try_pop().is_ok()
        {
            return complain(Outcome::Twice, "an end belongs to two processes");
        }
        for _ in 0..3 {
            let (mut producer, mut consumer) = spsc::ring::<Small>(CAPACITY)?;
            use_ends(&mut producer, &mut consumer, ledger)?;
        }
        Ok(Outcome::Clean)
    }
}
