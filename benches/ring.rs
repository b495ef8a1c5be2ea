//! Each operation of the ring by itself, in one process; and a stream between two.

use commons::spsc::{self, Ring};
use commons::{Process, Segment, WaitStrategy};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// A value pushed and popped again.
fn by_value<const BYTES: usize>(c: &mut Criterion) {
    let (mut producer, mut consumer) = spsc::ring::<[u8; BYTES]>(256).unwrap();
    let value = [7; BYTES];
    producer.push(value).unwrap();
    assert_eq!(consumer.pop().unwrap(), value);
    let mut group = c.benchmark_group("push and pop");
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function(BenchmarkId::from_parameter(format!("{BYTES} bytes")), |b| {
        b.iter(|| {
            producer.push(black_box(value)).unwrap();
            black_box(consumer.pop().unwrap())
        });
    });
}

fn numbers(c: &mut Criterion) {
    let (mut producer, mut consumer) = spsc::ring::<u64>(256).unwrap();
    let mut group = c.benchmark_group("u64");
    group.bench_function("push and pop", |b| {
        b.iter(|| {
            producer.push(black_box(7)).unwrap();
            black_box(consumer.pop().unwrap())
        });
    });
    group.bench_function("try_pop of nothing", |b| {
        b.iter(|| black_box(consumer.try_pop().is_err()))
    });
    let (sent, mut received) = ([7; 64], [0; 64]);
    group.throughput(Throughput::Elements(64));
    group.bench_function("push_slice and pop_slice of 64", |b| {
        b.iter(|| {
            assert_eq!(producer.push_slice(black_box(&sent)).unwrap(), 64);
            assert_eq!(consumer.pop_slice(black_box(&mut received)).unwrap(), 64);
        });
    });
    assert_eq!(sent, received);
}

fn in_place(c: &mut Criterion) {
    let (mut producer, mut consumer) = spsc::ring::<[u64; 512]>(64).unwrap();
    c.bench_function("reserve, write two words, commit, peek, read them, release", |b| {
        b.iter(|| {
            let mut grant = producer.reserve(1).unwrap();
            (grant[0][0], grant[0][511]) = (black_box(1), black_box(2));
            grant.commit(1);
            let loan = consumer.peek(1).unwrap();
            assert_eq!((loan[0][0], loan[0][511]), (1, 2));
            loan.release(1);
        });
    });
}

/// The slow paths: what is paid once.
fn setting_up(c: &mut Criterion) {
    let name = format!("bench-ring-{}", std::process::id());
    let ring = Ring::<u64>::create(&name, 1024).unwrap();
    let mut group = c.benchmark_group("set-up");
    group.bench_function("ring and both ends", |b| b.iter(|| spsc::ring::<u64>(1024).unwrap()));
    group.bench_function("open a named ring", |b| b.iter(|| Ring::<u64>::open(&name).unwrap()));
    group.bench_function("take an end", |b| b.iter(|| ring.producer().unwrap()));
    Segment::unlink(&name).unwrap();
}

fn between_processes(c: &mut Criterion) {
    const COUNT: u64 = 100_000;
    let mut group = c.benchmark_group("between two processes");
    group.throughput(Throughput::Elements(COUNT));
    group.sample_size(10);
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenPark] {
        group.bench_function(BenchmarkId::new("stream of u64", format!("{strategy:?}")), |b| {
            let (mut starts, mut go) = spsc::ring::<u64>(1).unwrap();
            let (mut producer, mut consumer) = spsc::ring::<u64>(1024).unwrap();
            producer.set_wait_strategy(strategy);
            consumer.set_wait_strategy(strategy);
            let child = Process::spawn(move || {
                while let Ok(count) = go.pop() {
                    (0..count).for_each(|i| producer.push(i).expect("the parent receives"));
                }
            })
            .unwrap();
            b.iter(|| {
                starts.push(COUNT).unwrap();
                let sum: u64 = (0..COUNT).map(|_| consumer.pop().unwrap()).sum();
                assert_eq!(sum, COUNT * (COUNT - 1) / 2);
            });
            drop(starts);
            child.join().unwrap();
        });
    }
}

criterion_group!(
    benches,
    numbers,
    by_value::<8>,
    by_value::<64>,
    by_value::<1024>,
    in_place,
    setting_up,
    between_processes
);
criterion_main!(benches);
