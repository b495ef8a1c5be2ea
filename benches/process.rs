//! Children started and waited for, beside a bare fork, and what their results cost.

#![allow(unsafe_code, reason = "a bare fork")]

use commons::Process;
use commons::process::{self, StartMethod};
use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;

fn nothing(_: ()) {}

/// A fork of this process, with nothing around it.
fn bare() {
    // SAFETY: the child ends at once.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: `status` is live for the kernel to fill in.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status, 0);
}

fn start(c: &mut Criterion) {
    let mut group = c.benchmark_group("process: start and join");
    group.bench_function("bare fork and waitpid", |b| b.iter(bare));
    group.bench_function("spawn", |b| b.iter(|| Process::spawn(|| ()).unwrap().join().unwrap()));
    group.bench_function("spawn, a daemon", |b| {
        b.iter(|| Process::builder().daemon().spawn(|| ()).unwrap().join().unwrap());
    });
    group.bench_function("spawn, with settings", |b| {
        let builder = || Process::builder().current_dir("/").env("A", "B").niceness(0);
        b.iter(|| builder().spawn(|| ()).unwrap().join().unwrap());
    });
    group.bench_function("call, by exec", |b| {
        b.iter(|| StartMethod::Exec.builder().call(nothing, ()).unwrap().join().unwrap());
    });
}

fn results(c: &mut Criterion) {
    let mut group = c.benchmark_group("process: a result of so many bytes");
    for bytes in [0usize, 1 << 10, 1 << 16, 1 << 20, 1 << 24] {
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
            b.iter(|| {
                let child = Process::spawn(move || vec![black_box(7u8); bytes]).unwrap();
                assert_eq!(child.join().unwrap().len(), bytes);
            });
        });
    }
}

fn main() {
    process::entry();
    let mut criterion = Criterion::default().configure_from_args();
    start(&mut criterion);
    results(&mut criterion);
    criterion.final_summary();
}
