//! Each operation of broadcasts and pipes by itself, in one process, and what it costs to wait for many
//! things of which one is ready.

use commons::{ChannelError, Event, Readiness, Reset, Select, broadcast, pipe, spsc};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn broadcasts<const BYTES: usize>(c: &mut Criterion) {
    let (mut sender, mut receiver) = broadcast::channel::<[u8; BYTES]>(256).unwrap();
    let value = [7; BYTES];
    sender.send(value).unwrap();
    assert_eq!(receiver.recv().unwrap(), value);
    let mut group = c.benchmark_group("broadcast");
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function(BenchmarkId::new("send", format!("{BYTES} bytes")), |b| {
        b.iter(|| sender.send(black_box(value)).unwrap());
    });
    let mut receiver = receiver.clone();
    while !matches!(receiver.try_recv(), Err(ChannelError::Empty)) {}
    group.bench_function(BenchmarkId::new("send and recv", format!("{BYTES} bytes")), |b| {
        b.iter(|| {
            sender.send(black_box(value)).unwrap();
            black_box(receiver.recv().unwrap())
        });
    });
}

fn pipes(c: &mut Criterion) {
    let (mut reader, mut writer) = pipe::simplex::<(u64, String)>().unwrap();
    let object = (7, "a short text".to_owned());
    let mut group = c.benchmark_group("pipe");
    group.bench_function("send and recv an object", |b| {
        b.iter(|| {
            writer.send(black_box(&object)).unwrap();
            black_box(reader.recv().unwrap())
        });
    });
    for length in [8, 64, 1024] {
        let (bytes, mut buffer) = (vec![7; length], vec![0; length]);
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(BenchmarkId::new("send and recv bytes", length), |b| {
            b.iter(|| {
                writer.send_bytes(black_box(&bytes)).unwrap();
                reader.recv_bytes_into(black_box(&mut buffer), 0).unwrap()
            });
        });
    }
}

fn waits(c: &mut Criterion) {
    let (mut producer, mut consumer) = spsc::ring::<u64>(8).unwrap();
    let events: Vec<_> = (0..3).map(|_| Event::new(Reset::Manual).unwrap()).collect();
    let mut select = Select::new();
    for event in &events {
        select.event(event).unwrap();
    }
    let ring = select.recv(&consumer).unwrap();
    let mut group = c.benchmark_group("select");
    group.bench_function("one of four ready", |b| {
        b.iter(|| {
            producer.push(black_box(7)).unwrap();
            assert_eq!(select.wait().unwrap(), ring);
            black_box(consumer.pop().unwrap())
        });
    });
    let readiness = Readiness::recv(&consumer).unwrap();
    group.bench_function("push and pop beside a readiness that has rung", |b| {
        b.iter(|| {
            producer.push(black_box(7)).unwrap();
            black_box(consumer.pop().unwrap())
        });
    });
    group.bench_function("reset of a readiness", |b| {
        b.iter(|| black_box(readiness.reset().unwrap()));
    });
}

criterion_group!(benches, broadcasts::<8>, broadcasts::<64>, broadcasts::<1024>, pipes, waits);
criterion_main!(benches);
