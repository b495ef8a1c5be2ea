//! `process/*`: a child started, and waited for.
//!
//! The bare fork is of the same image, with the same memory mapped: how long one takes depends on that
//! more than on anything else. Parent and children share a processor.

use std::hint::black_box;
use std::process::{Command, Stdio};

use commons::Process;
use commons::process::StartMethod;

use crate::harness::{Contender, Row};
use crate::os;
use crate::peer::{self, Plan};
use crate::work::{Result, same};

const FORK: Contender = Contender { name: "fork and waitpid", run: bare_fork };

/// Bytes of a large result.
const MIB: usize = 1 << 20;

/// The rows of this group.
pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "process/spawn_join",
            work: "start a child that does nothing, and wait for its result",
            bar: Some(1.20),
            asleep: false,
            grain: 1,
            limit: FORK,
            ours: vec![
                Contender { name: "", run: spawn_join },
                Contender { name: "as a new run of the program", run: exec_join },
            ],
            rivals: vec![
                Contender { name: "std Command, /bin/true", run: std_command },
                Contender { name: "procspawn", run: proc_spawn },
                Contender { name: "Python's Process, fork", run: python },
            ],
            absent: &[],
        },
        Row {
            name: "process/result_1m",
            work: "the same with a result of 1 MiB",
            bar: None,
            asleep: false,
            grain: 1,
            limit: Contender { name: "fork, and two copies", run: bare_large },
            ours: vec![Contender { name: "", run: large_result }],
            rivals: vec![
                Contender { name: "procspawn", run: proc_spawn_large },
                Contender { name: "Python's Process and Pipe, fork", run: python_large },
            ],
            absent: &[],
        },
    ]
}

/// Measures without a peer: one does nothing beside it.
fn alone(plan: &Plan, mut body: impl FnMut() -> Result<()>) -> Result<f64> {
    let main = move |n| {
        for _ in 0..n {
            body()?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(Ok), || Ok(main))
}

fn bare_fork(plan: &Plan) -> Result<f64> {
    alone(plan, || {
        let Some(child) = os::fork()? else {
            // SAFETY: ends the child.
            unsafe { libc::_exit(0) }
        };
        same(u64::from(os::reap(child)?.success()), 1)
    })
}

fn spawn_join(plan: &Plan) -> Result<f64> {
    alone(plan, || Ok(Process::spawn(|| ())?.join()?))
}

fn nothing(_: ()) {}

fn exec_join(plan: &Plan) -> Result<f64> {
    alone(plan, || Ok(StartMethod::Exec.builder().call(nothing, ())?.join()?))
}

fn large() -> Vec<u8> {
    vec![black_box(7); MIB]
}

/// A fork whose child makes such a vector and copies it to memory that is there already, from which its
/// parent copies it to a new one. A file is written without a fault, and the new vector mapped at once.
fn bare_large(plan: &Plan) -> Result<f64> {
    // SAFETY: a string with its end.
    let fd = unsafe { libc::memfd_create(c"limit".as_ptr(), libc::MFD_CLOEXEC) };
    let measured = alone(plan, || {
        let Some(child) = os::fork()? else {
            let bytes = large();
            // SAFETY: as many live bytes.
            let written = unsafe { libc::pwrite(fd, bytes.as_ptr().cast(), MIB, 0) };
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(written != MIB as isize)) }
        };
        same(u64::from(os::reap(child)?.success()), 1)?;
        let mut bytes = Vec::<u8>::with_capacity(MIB);
        let start = bytes.as_mut_ptr();
        let before = start.align_offset(4096);
        // SAFETY: whole pages of memory that is the vector's.
        unsafe {
            libc::madvise(start.add(before).cast(), MIB - 4096, libc::MADV_POPULATE_WRITE);
        }
        // SAFETY: the vector has room for as many.
        let read = unsafe { libc::pread(fd, start.cast(), MIB, 0) };
        same(read as u64, MIB as u64)?;
        // SAFETY: they have all been read.
        unsafe { bytes.set_len(MIB) };
        same(u64::from(black_box(&bytes)[MIB - 1]), 7)
    });
    // SAFETY: nobody uses it any more.
    unsafe { libc::close(fd) };
    measured
}

fn large_result(plan: &Plan) -> Result<f64> {
    alone(plan, || same(Process::spawn(large)?.join()?.len() as u64, MIB as u64))
}

fn std_command(plan: &Plan) -> Result<f64> {
    alone(plan, || {
        let status = Command::new("/bin/true").stdin(Stdio::null()).status()?;
        same(u64::from(status.success()), 1)
    })
}

fn proc_spawn(plan: &Plan) -> Result<f64> {
    alone(plan, || Ok(procspawn::spawn((), nothing).join()?))
}

fn proc_spawn_large(plan: &Plan) -> Result<f64> {
    alone(plan, || {
        let result = procspawn::spawn((), |()| large()).join()?;
        same(result.len() as u64, MIB as u64)
    })
}

fn python(_: &Plan) -> Result<f64> {
    in_python(
        "
def nothing(): pass
def one():
    child = multiprocessing.Process(target=nothing)
    child.start()
    child.join()
",
    )
}

fn python_large(_: &Plan) -> Result<f64> {
    in_python(
        "
def large(end): end.send_bytes(bytes([7]) * (1 << 20))
def one():
    here, there = multiprocessing.Pipe(False)
    child = multiprocessing.Process(target=large, args=(there,))
    child.start()
    assert len(here.recv_bytes()) == 1 << 20
    child.join()
    here.close()
    there.close()
",
    )
}

/// What a function `one` takes there, without what it takes to start the interpreter.
fn in_python(one: &str) -> Result<f64> {
    let program = format!(
        "
import multiprocessing, time
multiprocessing.set_start_method('fork')
{one}
for _ in range(10): one()
begin = time.perf_counter_ns()
for _ in range(100): one()
print((time.perf_counter_ns() - begin) / 100)
"
    );
    let output = Command::new("python3").args(["-c", &program]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
