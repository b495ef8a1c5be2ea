//! Tasks of a pool: one there and back, many in chunks, and an array in place.

#![allow(unsafe_code, reason = "elements in place")]

use commons::{Array, Pool, WaitStrategy};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::num::NonZeroUsize;

fn add_one(x: u64) -> u64 {
    x + 1
}

fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool: apply");
    for strategy in [WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let pool = Pool::builder().workers(1).wait_strategy(strategy).build().unwrap();
        group.bench_function(BenchmarkId::from_parameter(format!("{strategy:?}")), |b| {
            b.iter(|| assert_eq!(pool.apply(add_one, black_box(7)).unwrap(), 8));
        });
    }
}

fn map(c: &mut Criterion) {
    const TASKS: u64 = 10_000;
    let pool = Pool::new(2).unwrap();
    let mut group = c.benchmark_group("pool: map of u64");
    group.throughput(Throughput::Elements(TASKS));
    let check = |results: Vec<u64>| assert_eq!(results.last(), Some(&TASKS));
    group.bench_function("chunks of 1", |b| {
        b.iter(|| check(pool.map_chunked(add_one, 0..TASKS, NonZeroUsize::MIN).unwrap()));
    });
    group.bench_function("default chunks", |b| {
        b.iter(|| check(pool.map(add_one, 0..TASKS).unwrap()));
    });
    group.bench_function("imap, 64 ahead", |b| {
        let ahead = NonZeroUsize::new(64).unwrap();
        b.iter(|| assert_eq!(pool.imap(add_one, 0..TASKS).ahead(ahead).count() as u64, TASKS));
    });
}

fn slices(c: &mut Criterion) {
    let pool = Pool::new(2).unwrap();
    let array = Array::new(1 << 20, 1.0f64).unwrap();
    let mut group = c.benchmark_group("pool: array of f64");
    group.throughput(Throughput::Elements(1 << 20));
    group.bench_function("in place", |b| {
        // SAFETY: nobody else has it.
        let pass =
            || unsafe { pool.for_each_slice(&array, |_, s| s.iter_mut().for_each(|x| *x = -*x)) };
        b.iter(|| pass().unwrap());
    });
}

criterion_group!(benches, apply, map, slices);
criterion_main!(benches);
