//! Each operation of the cells by itself, in one process.

use commons::{Array, AtomicU64, Latest, Value};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::atomic::Ordering::Relaxed;

fn words(c: &mut Criterion) {
    let (atomic, value) = (AtomicU64::new(0).unwrap(), Value::new(0u64).unwrap());
    let mut group = c.benchmark_group("word");
    group.bench_function("atomic fetch_add", |b| b.iter(|| atomic.fetch_add(1, Relaxed)));
    group.bench_function("value load", |b| b.iter(|| black_box(&value).load().unwrap()));
    group.bench_function("value store", |b| {
        b.iter(|| black_box(&value).store(black_box(7)).unwrap());
    });
    group.bench_function("value update", |b| {
        b.iter(|| black_box(&value).update(|old| old.wrapping_add(1)).unwrap());
    });
}

fn values<const BYTES: usize>(c: &mut Criterion) {
    let value = Value::new([0u8; BYTES]).unwrap();
    value.store([7; BYTES]).unwrap();
    assert_eq!(value.load().unwrap(), [7; BYTES]);
    let mut group = c.benchmark_group("value");
    group.throughput(Throughput::Bytes(BYTES as u64));
    let id = |what| BenchmarkId::new(what, format!("{BYTES} bytes"));
    group.bench_function(id("load"), |b| b.iter(|| black_box(&value).load().unwrap()));
    let new = [8; BYTES];
    group.bench_function(id("store"), |b| {
        b.iter(|| black_box(&value).store(black_box(new)).unwrap());
    });
}

fn latest<const BYTES: usize>(c: &mut Criterion) {
    let latest = Latest::new(&[0u8; BYTES]).unwrap();
    let (mut publisher, mut reader) = (latest.publisher().unwrap(), latest.reader().unwrap());
    let mut into = Box::new([0; BYTES]);
    let new = Box::new([7; BYTES]);
    let mut group = c.benchmark_group("latest");
    group.throughput(Throughput::Bytes(BYTES as u64));
    let id = |what| BenchmarkId::new(what, format!("{BYTES} bytes"));
    group.bench_function(id("publish"), |b| b.iter(|| publisher.publish(black_box(&new)).unwrap()));
    group.bench_function(id("read_into"), |b| {
        b.iter(|| reader.read_into(black_box(&mut into)).unwrap());
    });
    assert_eq!(into, new);
}

fn arrays(c: &mut Criterion) {
    let array = Array::from_values(0..4096u64).unwrap();
    let mut into = vec![0; 4096];
    let mut group = c.benchmark_group("array of 4096 words");
    group.throughput(Throughput::Elements(4096));
    group.bench_function("iter and sum", |b| b.iter(|| array.iter().sum::<u64>()));
    group.bench_function("load_range", |b| {
        b.iter(|| array.load_range(0, black_box(&mut into)).unwrap());
    });
    group.bench_function("store_range", |b| {
        b.iter(|| array.store_range(0, black_box(&into)).unwrap());
    });
    group.bench_function("get, one by one", |b| {
        b.iter(|| (0..4096).map(|i| array.get(i).unwrap()).sum::<u64>());
    });
    assert!(into.into_iter().eq(0..4096));
}

criterion_group!(
    benches,
    words,
    values::<16>,
    values::<64>,
    values::<4096>,
    latest::<64>,
    latest::<4096>,
    latest::<65536>,
    arrays
);
criterion_main!(benches);
