//! Each operation of queues of objects by itself, in one process; and a stream between two.

use commons::objects::{Builder, bounded};
use commons::{JoinableQueue, Process};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use std::hint::black_box;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Trade {
    number: u64,
    price: f64,
    buys: bool,
}

const TRADE: Trade = Trade { number: 123_456, price: 98.25, buys: true };

fn alone(c: &mut Criterion) {
    let mut group = c.benchmark_group("objects in one process");
    let (sender, receiver) = bounded::<Trade>(64 << 10).unwrap();
    sender.send(&TRADE).unwrap();
    assert_eq!(receiver.recv().unwrap(), TRADE);
    group.bench_function("send and recv of a small struct", |b| {
        b.iter(|| {
            sender.send(black_box(&TRADE)).unwrap();
            receiver.recv().unwrap()
        });
    });
    let (sender, receiver) = bounded::<Vec<u8>>(64 << 10).unwrap();
    let kib = vec![7; 1024];
    group.bench_function("send and recv of 1 KiB", |b| {
        b.iter(|| {
            sender.send(black_box(&kib)).unwrap();
            receiver.recv().unwrap()
        });
    });
    group.bench_function("try_recv of nothing", |b| b.iter(|| receiver.try_recv().is_err()));
    let tasks = JoinableQueue::new(64 << 10).unwrap();
    group.bench_function("send, recv and done of a small struct", |b| {
        b.iter(|| {
            tasks.send(black_box(&TRADE)).unwrap();
            tasks.recv().unwrap().done()
        });
    });
    let again = Builder::new(64 << 10).redeliver(64).build_joinable().unwrap();
    group.bench_function("send, recv and done, kept meanwhile", |b| {
        b.iter(|| {
            again.send(black_box(&TRADE)).unwrap();
            again.recv().unwrap().done()
        });
    });
    group.bench_function("join of nothing", |b| b.iter(|| tasks.join().unwrap()));
}

fn stream(c: &mut Criterion) {
    let mut group = c.benchmark_group("objects between two processes");
    group.throughput(Throughput::Elements(1));
    group.bench_function("send of a small struct", |b| {
        let (sender, receiver) = bounded::<Trade>(64 << 10).unwrap();
        let child = Process::spawn(move || {
            receiver.iter().inspect(|trade| assert_eq!(*trade, TRADE)).count() as u64
        });
        let child = child.unwrap();
        b.iter(|| sender.send(black_box(&TRADE)).unwrap());
        drop(sender);
        assert!(child.join().unwrap() > 0);
    });
}

criterion_group!(benches, alone, stream);
criterion_main!(benches);
