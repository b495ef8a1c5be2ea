//! Meeting at a name. Who comes first makes the ring; who finds that it is over takes it away.
//!
//! A name may be taken away, and given to another ring, between opening it and taking an end. So an
//! end counts only once the name is seen to lead to it; and a ring is taken away by a process that
//! has both its ends, so that nobody can have come to it meanwhile.

use crate::failure::{Code, Failure};
use commons::inspect::{self, Holder, Report, State};
use commons::spsc::{Consumer, Producer, Ring};
use commons::{Departure, Error, Result};
use std::thread;
use std::time::Duration;

pub(crate) const PRODUCER: &str = "producer";
pub(crate) const CONSUMER: &str = "consumer";

/// How long a process takes to put a ring away, about.
const MOMENT: Duration = Duration::from_millis(1);

/// Takes the sending end of the ring of that name, which is made if there is none.
///
/// It goes on after a sender that finished, but never after one that did not: nobody could tell the
/// two streams apart.
pub(crate) fn sender(name: &str, capacity: usize) -> Result<(Ring<u8>, Producer<u8>), Failure> {
    take(name, capacity, PRODUCER, Ring::producer, |report| {
        let holder_now = holder(report, PRODUCER);
        if let Holder::Process { pid, .. } = holder_now
            && is_alive(&holder_now)
            && holder(report, CONSUMER) != holder_now
        {
            // Not left to the claim, which waits for one that dies meanwhile and then follows it.
            let (name, pid) = (name.to_owned(), pid.unwrap_or(0));
            return Err(Error::RoleTaken { name, role: PRODUCER, pid }.into());
        }
        let how = match holder_now {
            Holder::Process { pid, state: State::Dead } => match pid {
                Some(pid) => format!("process {pid}, which died"),
                None => "a process that died".to_owned(),
            },
            Holder::Abandoned => "a sender that gave up".to_owned(),
            _ => return Ok(()),
        };
        let bytes = fill(report);
        if bytes == 0 && !is_alive(&holder(report, CONSUMER)) {
            return Ok(());
        }
        Err(Failure::new(
            Code::Unfinished,
            format!(
                "`{name}` holds {bytes} bytes of an unfinished stream of {how}; \
                 receive them with `commons recv {name}`, or drop them with `commons rm {name}`"
            ),
        ))
    })
}

/// Takes the receiving end of the ring of that name, which is made if there is none.
pub(crate) fn receiver(name: &str, capacity: usize) -> Result<(Ring<u8>, Consumer<u8>), Failure> {
    take(name, capacity, CONSUMER, Ring::consumer, |_| Ok(()))
}

fn take<E>(
    name: &str,
    capacity: usize,
    role: &str,
    claim: impl Fn(&Ring<u8>) -> Result<E>,
    check: impl Fn(&Report) -> Result<(), Failure>,
) -> Result<(Ring<u8>, E), Failure> {
    loop {
        let (ring, _) = Ring::open_or_create(name, capacity)?;
        let Some(report) = self::report(name)? else { continue };
        check(&report)?;
        match claim(&ring) {
            Ok(end) => {
                if leads_here(name, &[role])? {
                    return Ok((ring, end));
                }
            }
            Err(error @ Error::RoleTaken { pid, .. }) => match self::report(name)? {
                // Both ends are one process's: it puts the ring away.
                Some(now) if has(&now, PRODUCER, pid) && has(&now, CONSUMER, pid) => {
                    thread::sleep(MOMENT);
                }
                Some(now) if has(&now, role, pid) => return Err(error.into()),
                _ => {}
            },
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes the name of a ring away, for its receiver, with up to `unread` bytes in it; `departure` is
/// how the sender went. If another has come since, or has come and gone and left more, the receiving
/// end comes back.
pub(crate) fn put_away(
    name: &str,
    ring: &Ring<u8>,
    consumer: Consumer<u8>,
    departure: Departure,
    unread: usize,
) -> Result<Option<Consumer<u8>>, Failure> {
    let mut is_finished = departure == Departure::Closed;
    // Nobody follows a sender that had not finished.
    if is_finished && let Some(now) = look_across(name, CONSUMER)? {
        if is_alive(&now) {
            return Ok(Some(consumer));
        }
        is_finished = now == Holder::Closed;
    }
    let producer = match ring.producer() {
        Ok(producer) => producer,
        Err(Error::RoleTaken { .. }) => return Ok(Some(consumer)),
        Err(error) => return Err(error.into()),
    };
    if ring.len() > unread {
        // The receiver is to find what it would have found.
        if is_finished {
            drop(producer);
        } else {
            producer.abandon();
        }
        return Ok(Some(consumer));
    }
    if leads_here(name, &[PRODUCER, CONSUMER])? {
        match Ring::<u8>::unlink(name) {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Only now: with the name gone, nobody comes any more.
    drop((producer, consumer));
    Ok(None)
}

/// Takes the name of a ring away that both have left, with up to `unread` bytes in it, if nobody has
/// come to it since; `departure` is how the sender went.
pub(crate) fn put_away_unused(
    name: &str,
    ring: &Ring<u8>,
    departure: Departure,
    unread: usize,
) -> Result<(), Failure> {
    match ring.consumer() {
        Ok(consumer) => put_away(name, ring, consumer, departure, unread).map(drop),
        Err(Error::RoleTaken { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Who has an end of the ring of that name; `None`: the name is gone.
pub(crate) fn look(name: &str, role: &str) -> Result<Option<Holder>> {
    Ok(report(name)?.map(|report| holder(&report, role)))
}

/// Whether the name does not lead to the ring any more in which this process has the end `mine`.
pub(crate) fn is_removed(name: &str, mine: &str) -> bool {
    matches!(leads_here(name, &[mine]), Ok(false))
}

/// Who has the other end of the ring in which this process has the end `mine`; `None`: the name does
/// not lead there any more.
fn look_across(name: &str, mine: &str) -> Result<Option<Holder>> {
    let other = if mine == PRODUCER { CONSUMER } else { PRODUCER };
    let report = report(name)?.filter(|report| has(report, mine, std::process::id()));
    Ok(report.map(|report| holder(&report, other)))
}

/// What to say when a name was removed before the other side came.
pub(crate) fn removed(name: &str, other: &str) -> Failure {
    let message = format!("`{name}` was removed before a {other} came; none can come any more");
    Failure::new(Code::Missing, message)
}

/// Whether an end is a living process's.
pub(crate) fn is_alive(holder: &Holder) -> bool {
    matches!(holder, Holder::Process { state, .. } if *state != State::Dead)
}

fn report(name: &str) -> Result<Option<Report>> {
    match inspect::report(name) {
        Ok(report) => Ok(Some(report)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the ring of that name is the one in which this process has these ends.
fn leads_here(name: &str, roles: &[&str]) -> Result<bool> {
    let me = std::process::id();
    let report = report(name)?;
    Ok(report.is_some_and(|report| roles.iter().all(|role| has(&report, role, me))))
}

fn has(report: &Report, role: &str, process: u32) -> bool {
    matches!(holder(report, role), Holder::Process { pid: Some(pid), .. } if pid == process)
}

fn holder(report: &Report, role: &str) -> Holder {
    let root = report.objects.iter().find(|object| object.info.label.is_none());
    let end = root.and_then(|root| root.ends.iter().find(|end| end.role == role));
    end.map_or(Holder::Nobody, |end| end.holder.clone())
}

fn fill(report: &Report) -> u64 {
    report.objects.iter().filter_map(|object| object.fill).sum()
}
