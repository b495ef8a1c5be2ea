//! Each operation of the queue by itself, in one process; and a stream between two.

use commons::queue::{self, Builder, Queue};
use commons::{Process, WaitStrategy};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// A value sent and received again.
fn by_value<const BYTES: usize>(c: &mut Criterion) {
    let (sender, receiver) = queue::bounded::<[u8; BYTES]>(256).unwrap();
    let value = [7; BYTES];
    sender.send(value).unwrap();
    assert_eq!(receiver.recv().unwrap(), value);
    let mut group = c.benchmark_group("queue: send and recv");
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function(BenchmarkId::from_parameter(format!("{BYTES} bytes")), |b| {
        b.iter(|| {
            sender.send(black_box(value)).unwrap();
            black_box(receiver.recv().unwrap())
        });
    });
}

fn others(c: &mut Criterion) {
    let queue = Queue::<u64>::new(256).unwrap();
    let mut group = c.benchmark_group("queue of u64");
    group
        .bench_function("try_recv of nothing", |b| b.iter(|| black_box(queue.try_recv().is_err())));
    group.bench_function("reserve, commit, loan, release", |b| {
        b.iter(|| {
            let mut slot = queue.reserve().unwrap();
            *slot = black_box(7);
            slot.commit();
            let loan = queue.loan().unwrap();
            assert_eq!(*loan, 7);
            loan.release();
        });
    });
    let again: Queue<u64> = Builder::new(256).at_least_once(16).build().unwrap();
    group.bench_function("send and recv, at least once", |b| {
        b.iter(|| {
            again.send(black_box(7)).unwrap();
            black_box(again.recv().unwrap())
        });
    });
}

fn stream(c: &mut Criterion) {
    let mut group = c.benchmark_group("queue between two processes");
    group.throughput(Throughput::Elements(1));
    group.bench_function("send", |b| {
        let (mut sender, mut receiver) = queue::bounded::<u64>(1024).unwrap();
        sender.set_wait_strategy(WaitStrategy::Spin);
        receiver.set_wait_strategy(WaitStrategy::Spin);
        let child = Process::spawn(move || receiver.iter().count() as u64).unwrap();
        b.iter(|| sender.send(black_box(7)).unwrap());
        drop(sender);
        assert!(child.join().unwrap() > 0);
    });
}

criterion_group!(benches, by_value::<8>, by_value::<64>, by_value::<1024>, others, stream);
criterion_main!(benches);
