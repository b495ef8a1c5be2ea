//! What lives in shared memory, who uses it, whether they are alive; and cleaning up.
//!
//! # Examples
//! ```
//! for segment in commons::inspect::list()? {
//!     println!("{} {} bytes, {} attached", segment.name, segment.size, segment.participants.len());
//! }
//! # Ok::<(), commons::Error>(())
//! ```

use crate::cell;
#[cfg(feature = "serde")]
use crate::channel::objects;
use crate::channel::{broadcast, queue, spsc};
use crate::lock::{self, LockView};
use crate::member::{Participant, Stamp, Table};
use crate::segment::{Core, Name, ObjectInfo, Place, directory, for_each_block, unlink_if};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sys::{process, task, time};
use crate::{Error, Result};
use std::fmt;
use std::thread;
use std::time::{Duration, SystemTime};

/// How long [`collect`] waits for the kernel to be done with the dead, and between two looks.
const DYING_PATIENCE: Duration = Duration::from_secs(1);
const DYING_PAUSE: Duration = Duration::from_millis(1);

/// A named segment, as it was at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Bytes of the whole segment.
    pub size: u64,
    /// When it was made.
    pub created: SystemTime,
    /// The process that made it.
    pub creator: u32,
    /// What is in it.
    pub objects: Vec<ObjectReport>,
    /// Who is attached, and who died attached and was not replaced yet.
    pub participants: Vec<ParticipantReport>,
}

/// One object.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ObjectReport {
    /// What it is.
    pub info: ObjectInfo,
    /// How many of its places are filled; `None` where that says nothing.
    pub fill: Option<u64>,
    /// How many values were published in it, where that is counted.
    pub version: Option<u64>,
    /// How often its owner has it, of a [`RecursiveMutex`](crate::RecursiveMutex); 0: it is free.
    pub depth: Option<u32>,
    /// Who has which end of it.
    pub ends: Vec<EndReport>,
}

/// One end of an object.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndReport {
    /// `producer` or `consumer` of a ring, `publisher` of a [`Latest`](crate::Latest), `sender` of a
    /// [`broadcast`], `owner` of a lock.
    pub role: &'static str,
    /// Who has it.
    pub holder: Holder,
}

/// Who has one end of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// Nobody has had it yet.
    Nobody,
    /// A process.
    Process {
        /// Its id, where it is known.
        pid: Option<u32>,
        /// How it is.
        state: State,
    },
    /// Its last holder closed it.
    Closed,
    /// Its last holder left without finishing: of a lock, by a panic.
    Abandoned,
    /// A lock that nobody has.
    Free,
}

/// One process that takes part in a segment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ParticipantReport {
    /// Its id, as its own pid namespace counts.
    pub pid: u32,
    /// The name of its program, where it can be seen.
    pub command: Option<String>,
    /// How it is.
    pub state: State,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// It lives.
    Alive,
    /// It lives and is stopped by a signal or a debugger.
    Stopped,
    /// It runs no more, as waiters are told; the kernel may still be freeing its memory.
    Dead,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Alive => "alive",
            State::Stopped => "stopped",
            State::Dead => "dead",
        })
    }
}

impl Report {
    /// Whether a living process is attached.
    pub fn is_in_use(&self) -> bool {
        self.participants.iter().any(|p| p.state != State::Dead)
    }

    /// Whether processes died attached and nobody alive is: what [`collect`] removes.
    pub fn is_left_by_the_dead(&self) -> bool {
        !self.participants.is_empty() && !self.is_in_use()
    }
}

/// Reports on every named segment. Files of others, and segments that cannot be read, are left out;
/// ask for one by [`report`] to learn why.
///
/// # Errors
/// [`Error::Os`] where the directory cannot be read.
pub fn list() -> Result<Vec<Report>> {
    let mut reports: Vec<_> = names()?.iter().filter_map(|name| look(name).ok()).collect();
    reports.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(reports)
}

/// Reports on one segment, without taking part in it.
///
/// # Errors
/// As [`Segment::open`](crate::Segment::open).
pub fn report(name: &str) -> Result<Report> {
    look(&Name::new(name)?)
}

/// Removes the names of all segments that only the dead use, and gives them. A segment that everybody
/// left in order stays, and so does one that somebody is attaching to at that moment.
///
/// # Blocking
/// Until the kernel has freed the memory of those who have just died, for one second at most. What
/// they use stays if that takes longer.
///
/// # Errors
/// [`Error::Os`] where the directory cannot be read.
pub fn collect() -> Result<Vec<String>> {
    let patience = time::after(DYING_PATIENCE);
    let mut removed = Vec::new();
    for name in names()? {
        let Ok(core) = name.open().and_then(|file| Core::look(&name, file)) else { continue };
        while matches!(users(&core), Ok(Users::Dying)) && time::now() < patience {
            // Nothing wakes when the kernel is done.
            thread::sleep(DYING_PAUSE);
        }
        let unused = || Ok(users(&core)? == Users::Dead);
        if unlink_if(core.mapping().file(), &name, unused).unwrap_or(false) {
            removed.push(name.as_str().to_owned());
        }
    }
    removed.sort();
    Ok(removed)
}

/// Those who did not leave a segment in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Users {
    Nobody,
    /// All are gone for good.
    Dead,
    /// None runs any more, but the kernel is not done with all of them.
    Dying,
    Alive,
}

/// Who uses a segment: exact, unlike a [`Report`], which may take the word of /proc for a death.
fn users(core: &Core) -> Result<Users> {
    let table = core.table()?;
    let mut users = Users::Nobody;
    for (stamp, entry) in table.stamps() {
        if entry.pid.load(Relaxed) == 0 {
            continue;
        }
        if !table.runs_no_more(stamp)? {
            return Ok(Users::Alive);
        }
        let is_dying = users == Users::Dying || !table.is_gone(stamp)?;
        users = if is_dying { Users::Dying } else { Users::Dead };
    }
    Ok(users)
}

fn names() -> Result<Vec<Name>> {
    let directory = directory();
    let os = |e| Error::os("readdir", directory.display().to_string())(e);
    let entries = std::fs::read_dir(&directory).map_err(os)?;
    Ok(entries.filter_map(|e| Name::of_file(&e.ok()?.file_name())).collect())
}

fn look(name: &Name) -> Result<Report> {
    describe(name, &Core::look(name, name.open()?)?)
}

fn describe(name: &Name, core: &Core) -> Result<Report> {
    let table = core.table()?;
    let mut objects = Vec::new();
    let mut result = Ok(());
    for_each_block(core.mapping(), core.geometry(), |block, place, info| {
        if let Some(info) = info.filter(|_| block.is_kept()) {
            match object(core, table, &place, info) {
                Ok(object) => objects.push(object),
                Err(error) => result = Err(error),
            }
        }
        result.is_ok()
    })?;
    result?;
    let mut participants = Vec::new();
    for (stamp, entry) in table.stamps() {
        let pid = entry.pid.load(Relaxed);
        let state = state(table, stamp, entry)?;
        // A process that left in order, and one that is just coming.
        if pid != 0 {
            let command = (state != State::Dead).then(|| task::command(pid)).flatten();
            participants.push(ParticipantReport { pid, command, state });
        }
    }
    let geometry = core.geometry();
    Ok(Report {
        name: name.as_str().to_owned(),
        size: geometry.length,
        created: geometry.created,
        creator: geometry.creator,
        objects,
        participants,
    })
}

fn object(core: &Core, table: Table<'_>, place: &Place, info: ObjectInfo) -> Result<ObjectReport> {
    let mut ends = Vec::new();
    let mut fill = queue::look(core, place, &info)?;
    #[cfg(feature = "serde")]
    if let Some(messages) = objects::look(core, place, &info)? {
        fill = Some(messages);
    }
    for ring in spsc::look(core, place, &info)? {
        fill = Some(fill.unwrap_or(0) + ring.fill);
        for (role, holder) in ring.roles {
            ends.push(EndReport { role, holder: holder_report(table, holder)? });
        }
    }
    let versions = cell::look(core, place, &info)?;
    if let Some(publisher) = versions.and_then(|seen| seen.publisher) {
        ends.push(EndReport { role: "publisher", holder: holder_report(table, publisher)? });
    }
    let mut version = versions.map(|seen| seen.version);
    if let Some(seen) = broadcast::look(core, place, &info)? {
        ends.push(EndReport { role: "sender", holder: holder_report(table, seen.sender)? });
        version = Some(seen.sent);
    }
    if let Some(lock) = lock::look(core, place, &info)? {
        ends.push(EndReport { role: "owner", holder: owner_report(table, lock)? });
    }
    let depth = lock::depth(core, place, &info)?;
    Ok(ObjectReport { info, fill, version, depth, ends })
}

fn owner_report(table: Table<'_>, lock: LockView) -> Result<Holder> {
    let pid = match lock {
        LockView::Free => return Ok(Holder::Free),
        LockView::Poisoned => return Ok(Holder::Abandoned),
        // Its process is alive, or the kernel would have released the lock.
        LockView::Taken => return Ok(Holder::Process { pid: None, state: State::Alive }),
        LockView::Inside(pid) => pid,
    };
    for (stamp, entry) in table.stamps() {
        if entry.pid.load(Relaxed) == pid {
            return Ok(Holder::Process { pid: Some(pid), state: state(table, stamp, entry)? });
        }
    }
    // Who has a lock takes part. Another has taken the place of the dead one.
    Ok(Holder::Process { pid: Some(pid), state: State::Dead })
}

fn holder_report(table: Table<'_>, holder: crate::raw::role::Holder) -> Result<Holder> {
    use crate::raw::role::Holder as Raw;
    Ok(match holder {
        Raw::Vacant => Holder::Nobody,
        Raw::Closed => Holder::Closed,
        Raw::Abandoned => Holder::Abandoned,
        Raw::Held(stamp) => {
            let entry = Stamp::unpack(stamp).and_then(|s| Some((s, table.entry(s.index)?)));
            match entry {
                Some((stamp, entry)) => {
                    Holder::Process { pid: table.pid(stamp), state: state(table, stamp, entry)? }
                }
                None => Holder::Process { pid: None, state: State::Dead },
            }
        }
    })
}

fn state(table: Table<'_>, stamp: Stamp, entry: &Participant) -> Result<State> {
    if table.runs_no_more(stamp)? {
        return Ok(State::Dead);
    }
    let here = entry.namespace.load(Relaxed) == process::pid_namespace();
    let stopped = here && task::is_stopped(entry.pid.load(Relaxed));
    Ok(if stopped { State::Stopped } else { State::Alive })
}
