//! Roles and the processes that have them: taking one from the dead, watching who has one, and
//! looking at it.

use crate::member::{Departure, Doubt, Peer, Stamp, Watch};
use crate::raw::role::{Holder, Role};
use crate::segment::{Attachment, Core, heir};
use crate::sync::atomic::AtomicU32;
use crate::sync::futex;
use crate::sys::time;
use crate::{Error, Result};

/// Takes a role that nobody alive has, and says how its last holder went; or one that came with the
/// handle.
pub(crate) fn claim_role(
    attachment: &Attachment,
    role: &Role,
    me: Stamp,
    name: &'static str,
) -> Result<Option<Departure>> {
    let core = attachment.core();
    let table = core.table()?;
    let mut pause = 50_000;
    loop {
        let (holder, seen) = role.read();
        let predecessor = match holder {
            Holder::Vacant => None,
            Holder::Closed => Some(Departure::Closed),
            Holder::Abandoned => Some(Departure::Abandoned),
            Holder::Held(stamp) => {
                let stamp = Stamp::unpack(stamp);
                if stamp.is_some() && stamp == attachment.promised_by() {
                    return Ok(None);
                }
                if stamp == Some(me) && attachment.came_with_role() {
                    return Ok(None);
                }
                let pid = stamp.and_then(|stamp| table.pid(stamp));
                if let Some(stamp) = stamp
                    && (stamp == me || !table.is_gone(stamp)?)
                {
                    if stamp == me || !table.runs_no_more(stamp)? {
                        let (name, role) = (attachment.name().into(), name);
                        return Err(Error::RoleTaken { name, role, pid: pid.unwrap_or(0) });
                    }
                    // It will never run again, but the kernel is not done with it. Nothing wakes when
                    // it is.
                    let never = AtomicU32::new(0);
                    futex::wait_either((&never, 0), None, Some(time::now() + pause));
                    pause = (2 * pause).min(5_000_000);
                    continue;
                }
                Some(Departure::Died { pid })
            }
        };
        if attachment.promised_by().is_some() {
            // Who was to hand it over has not got it.
            return Err(Error::Forked);
        }
        if role.claim(seen, me.pack()) {
            return Ok(predecessor);
        }
    }
}

/// Gives a role up that this process has, in order or not; or hands it over, where the calling thread
/// drops its handles for another process.
pub(crate) fn end_role(attachment: &Attachment, role: &Role, me: Stamp, in_order: bool) {
    let mine = me.pack();
    match (heir(attachment.core()), attachment.promised_by()) {
        (Some(heir), _) => role.hand_over(mine, heir.pack()),
        (None, None) => role.leave(mine, in_order),
        // Another thread of this process has it, and keeps it.
        (None, Some(giver)) if giver == me => false,
        // The giver keeps it; or it died over handing it over, and nobody has it.
        (None, Some(_)) => role.leave(mine, false),
    };
}

/// How to sleep so that the death of a role's holder ends the sleep, or how the holder went.
///
/// `ask` says that time has passed and the beacon alone is not to be believed.
pub(crate) fn watch_holder<'a>(
    core: &'a Core,
    role: &Role,
    ask: bool,
    doubt: &mut Doubt,
) -> Result<Result<Watch<'a>, Departure>> {
    loop {
        let (holder, seen) = role.read();
        let stamp = match holder {
            Holder::Vacant => return Ok(Ok(Watch::NOBODY)),
            Holder::Closed => return Ok(Err(Departure::Closed)),
            Holder::Abandoned => return Ok(Err(Departure::Abandoned)),
            Holder::Held(stamp) => somebody(core, stamp)?,
        };
        // The thread that carried this process's beacon may have ended: the holder may watch it, too.
        core.membership()?;
        let table = core.table()?;
        let pid = table.pid(stamp);
        if let Some(watch) = table.watch(stamp, ask, doubt)? {
            return Ok(Ok(watch));
        }
        table.pass_on(stamp);
        // Unless it left before it ended, or somebody has followed it.
        if role.read().1 == seen {
            return Ok(Err(Departure::Died { pid }));
        }
    }
}

/// Whether the holder of a role has gone or may have: a few loads, for those who find nothing to do.
pub(crate) fn is_suspect(core: &Core, role: &Role) -> bool {
    match role.read().0 {
        Holder::Vacant => false,
        Holder::Held(stamp) => Stamp::unpack(stamp)
            .is_none_or(|stamp| core.table().is_ok_and(|table| table.is_suspect(stamp))),
        Holder::Closed | Holder::Abandoned => true,
    }
}

/// How the holder of a role is.
pub(crate) fn look_at_holder(core: &Core, role: &Role) -> Result<Peer> {
    loop {
        let (holder, seen) = role.read();
        let stamp = match holder {
            Holder::Vacant => return Ok(Peer::Nobody),
            Holder::Closed => return Ok(Peer::Gone(Departure::Closed)),
            Holder::Abandoned => return Ok(Peer::Gone(Departure::Abandoned)),
            Holder::Held(stamp) => somebody(core, stamp)?,
        };
        let table = core.table()?;
        let pid = table.pid(stamp);
        if !table.runs_no_more(stamp)? {
            return Ok(Peer::Here { pid });
        }
        // Unless it left before it ended, or somebody has followed it.
        if role.read().1 == seen {
            return Ok(Peer::Gone(Departure::Died { pid }));
        }
    }
}

fn somebody(core: &Core, stamp: u64) -> Result<Stamp> {
    Stamp::unpack(stamp).ok_or_else(|| core.mapping().corrupted("a role is held by nobody"))
}
