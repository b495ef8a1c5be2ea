//! Roles and the processes that have them: taking one from the dead, and watching who has one.

use crate::member::{Departure, Doubt, Stamp, Watch};
use crate::raw::role::{Holder, Role};
use crate::segment::{Attachment, Core};
use crate::sync::atomic::AtomicU32;
use crate::sync::futex;
use crate::sys::time;
use crate::{Error, Result};

/// Takes a role that nobody alive has.
pub(crate) fn claim_role(
    attachment: &Attachment,
    role: &Role,
    me: Stamp,
    name: &'static str,
) -> Result<()> {
    let core = attachment.core();
    let table = core.table()?;
    let mut pause = 50_000;
    loop {
        let (holder, seen) = role.read();
        if let Holder::Held(stamp) = holder
            && let Some(stamp) = Stamp::unpack(stamp)
            && (stamp == me || !table.is_gone(stamp)?)
        {
            if stamp == me || !table.runs_no_more(stamp)? {
                let pid = table.pid(stamp).unwrap_or(0);
                return Err(Error::RoleTaken { name: attachment.name().into(), role: name, pid });
            }
            // It will never run again, but the kernel is not done with it. Nothing wakes when it is.
            let never = AtomicU32::new(0);
            futex::wait_either((&never, 0), None, Some(time::now() + pause));
            pause = (2 * pause).min(5_000_000);
            continue;
        }
        if role.claim(seen, me.pack()) {
            return Ok(());
        }
    }
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
    let (holder, _) = role.read();
    let stamp = match holder {
        Holder::Vacant => return Ok(Ok(Watch::NOBODY)),
        Holder::Closed => return Ok(Err(Departure::Closed)),
        Holder::Abandoned => return Ok(Err(Departure::Abandoned)),
        Holder::Held(stamp) => stamp,
    };
    // The thread that carried this process's beacon may have ended: the holder may watch it, too.
    core.membership()?;
    let damaged = || core.mapping().corrupted("a role is held by nobody");
    let stamp = Stamp::unpack(stamp).ok_or_else(damaged)?;
    let table = core.table()?;
    if let Some(watch) = table.watch(stamp, ask, doubt)? {
        return Ok(Ok(watch));
    }
    let pid = table.pid(stamp);
    table.pass_on(stamp);
    Ok(Err(Departure::Died { pid }))
}
