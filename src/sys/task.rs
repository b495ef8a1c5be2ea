//! What /proc says of another process.

use std::fs;
use std::io::Read;

/// `PF_EXITING` of the kernel's task flags: the thread runs no more user code.
const EXITING: u64 = 4;

/// One field of `/proc/.../stat` by its number in proc(5), from 3 on.
fn field(stat: &str, number: usize) -> Option<&str> {
    // The second field is the command in parentheses, which may hold anything.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(number - 3)
}

/// When a process started, in clock ticks since boot, which together with its id names it for good.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    // In one piece, and without memory: each start of a process asks.
    let mut bytes = [0; 1024];
    let read = fs::File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut bytes).ok()?;
    let stat = String::from_utf8_lossy(bytes.get(..read)?);
    field(&stat, 22)?.parse().ok()
}

/// Whether a process is stopped by a signal or a debugger.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| matches!(field(&stat, 3), Some("T" | "t")))
}

/// The name of a process's program, as the kernel cut it.
pub(crate) fn command(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Whether every thread of a process is beyond its last instruction of user code, though the kernel
/// may still be busy freeing its memory. False also where /proc cannot tell.
///
/// Exact for a process that is ended as a whole. A process whose threads start and end others while
/// this looks could in theory be misread: so it may speed up the news of a death, and never decide
/// who owns what.
///
/// `ran_at`: a moment at which it ran already, in clock ticks since boot. Who has its id and started later is
/// another.
pub(crate) fn runs_no_more(pid: u32, ran_at: u64) -> bool {
    let count = || -> Option<(u64, u64)> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((field(&stat, 20)?.parse().ok()?, field(&stat, 22)?.parse().ok()?))
    };
    let exiting = || -> Option<u64> {
        let mut exiting = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            // A thread that is gone between the listing and the look is past its last instruction,
            // and no longer counted.
            let Ok(stat) = fs::read_to_string(task.ok()?.path().join("stat")) else { continue };
            let flags: u64 = field(&stat, 9)?.parse().ok()?;
            if flags & EXITING == 0 {
                return None;
            }
            exiting += 1;
        }
        Some(exiting)
    };
    let Some(before) = count() else { return false };
    let Some(exiting) = exiting() else { return false };
    before.1 <= ran_at && exiting >= 1 && count().is_some_and(|after| after.0 <= exiting)
}

/// How many threads this process has. Where it has had several and /proc does not say, 2.
pub(crate) fn threads() -> usize {
    use std::os::unix::fs::MetadataExt;
    if super::process::has_one_thread() {
        return 1;
    }
    // A directory has a name more for each directory in it, besides its own two.
    let links = fs::metadata("/proc/self/task").map_or(0, |directory| directory.nlink());
    if links > 2 {
        return (links - 2) as usize;
    }
    let stat = fs::read_to_string("/proc/self/stat").ok();
    stat.and_then(|stat| field(&stat, 20)?.parse().ok()).unwrap_or(2)
}
