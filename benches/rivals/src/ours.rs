//! How `commons` is measured: the peer is a child of `commons::Process`, into which its end is moved.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use commons::Process;

use crate::os;
use crate::peer::{Gate, Plan};
use crate::shared::Shared;
use crate::work::Result;

/// Measures with the peer in a child process, as [`peer::forked`](crate::peer::forked) does.
pub(crate) fn spawned<P, M>(
    plan: &Plan,
    peer: impl FnOnce() -> Result<P> + Send + 'static,
    main: impl FnOnce() -> Result<M>,
) -> Result<f64>
where
    P: FnMut(u64) -> Result<u64>,
    M: FnMut(u64) -> Result<u64>,
{
    let gate = Gate::closed();
    let parent = std::process::id() as i32;
    os::pin(os::cpus()[0]);
    let child = Process::spawn(move || {
        os::die_with(parent);
        gate.serve_as_child(parent, peer);
    })?;
    let figure = gate.drive(plan, main)?;
    child.join()?;
    Ok(figure)
}

/// Runs a measurement where the kernel refuses `membarrier`, so that every look for sleepers costs a
/// fence. The refusal cannot be taken back, hence a process of its own.
pub(crate) fn fenced(plan: &Plan, run: fn(&Plan) -> Result<f64>) -> Result<f64> {
    // SAFETY: an atomic of 0.
    let figure = unsafe { Shared::<AtomicU64>::zeroed() }?;
    let parent = std::process::id() as i32;
    let Some(child) = os::fork()? else {
        os::die_with(parent);
        let result = os::refuse(libc::SYS_membarrier).map_err(Into::into).and_then(|()| run(plan));
        match result {
            Ok(ns) => figure.store(ns.to_bits(), Relaxed),
            Err(error) => {
                eprintln!("without membarrier: {error}");
                os::exit_now(1);
            }
        }
        os::exit_now(0);
    };
    let status = os::reap(child)?;
    if !status.success() {
        return Err(format!("the process without membarrier ended with {status}").into());
    }
    Ok(f64::from_bits(figure.load(Relaxed)))
}
