//! A process is killed while it joins a segment, leaves one, or cleans up after the dead.

use super::item::Small;
use super::named::Named;
use super::stream::complain;
use crate::harness::{
    Case, Complaint, Judgement, Ledger, Operation, Outcome, begin, die_after, end,
};
use commons::inspect::{self, State};
use commons::spsc::Ring;
use commons::{Error, Segment};

const NAME: &str = "attach";
/// Places in the table of a segment.
const PLACES: usize = 1024;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A segment is opened by its name.
    Open,
    /// A handle that came by fork is used for the first time.
    Inherit,
    /// The last handle is dropped.
    Leave,
    /// What only the dead use is removed, by somebody who takes no part.
    Collect,
}

struct Attaching(What);

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let all = [What::Open, What::Inherit, What::Leave, What::Collect];
    all.into_iter().map(|what| Box::new(Attaching(what)) as Box<dyn Operation>).collect()
}

impl Operation for Attaching {
    fn name(&self) -> String {
        let name = match self.0 {
            What::Open => "segment/open",
            What::Inherit => "segment/inherit",
            What::Leave => "segment/leave",
            What::Collect => "segment/collect",
        };
        name.to_owned()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let name = Named(NAME);
        // Made by a process that dies, so that the harness takes no part but to be inherited from.
        die_after(|| {
            let segment = Segment::create(NAME, 16 << 10)?;
            drop(Ring::<Small>::new_in(&segment, "ring", 4)?);
            std::mem::forget(segment);
            Ok(())
        })?;
        let open = || Ring::<Small>::open_in(&Segment::open(NAME)?, "ring");
        let ring = if self.0 == What::Inherit { Some(open()?) } else { None };
        Ok(Box::new(Attach { what: self.0, ring, name }))
    }
}

struct Attach {
    what: What,
    /// The harness's own, where it is to be inherited.
    ring: Option<Ring<Small>>,
    name: Named,
}

impl Case for Attach {
    fn victim(&mut self, _: &'static Ledger) -> Result<(), Complaint> {
        drop(inspect::report(NAME)?);
        drop(Segment::open(NAME)?);
        let segment = if self.what == What::Collect { None } else { Some(Segment::open(NAME)?) };
        begin();
        match self.what {
            What::Open => std::mem::forget(Segment::open(NAME)?),
            What::Inherit => std::mem::forget(self.ring.clone()),
            What::Leave => drop(segment),
            What::Collect => drop(inspect::collect()?),
        }
        end();
        Ok(())
    }

    fn judge(&mut self, _: &'static Ledger) -> Judgement {
        let report = match inspect::report(self.name.0) {
            Err(Error::NotFound { .. }) if self.what == What::Collect => {
                return Ok(Outcome::Clean);
            }
            report => report?,
        };
        let unused = report.is_left_by_the_dead();
        let (dead, alive): (Vec<_>, Vec<_>) =
            report.participants.into_iter().partition(|p| p.state == State::Dead);
        let harness = usize::from(self.ring.is_some());
        if alive.len() != harness || unused != (harness == 0) {
            return complain(Outcome::Wedged, format!("the dead are said to live: {alive:?}"));
        }
        // Every place can be had, those of the dead among them.
        let mut members = Vec::with_capacity(PLACES);
        let full = loop {
            match Segment::open(NAME) {
                Ok(segment) => members.push(segment),
                Err(error) => break error,
            }
        };
        if !matches!(full, Error::TableFull { .. }) || members.len() + harness != PLACES {
            return complain(Outcome::Wedged, format!("{} places, then {full}", members.len()));
        }
        drop(Ring::<Small>::open_in(&members[0], "ring")?);
        drop(members);
        Ok(if dead.len() > 1 { Outcome::OwnerDied } else { Outcome::Clean })
    }
}
