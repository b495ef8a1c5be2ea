//! Each operation of a ring of records by itself, in one process; and a stream between two.

use commons::{Process, WaitStrategy, records};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn copied(c: &mut Criterion) {
    let mut group = c.benchmark_group("records: send and recv");
    for bytes in [8, 64, 1024] {
        let (mut producer, mut consumer) = records::ring(64 << 10).unwrap();
        let (sent, mut got) = (vec![7; bytes], Vec::new());
        producer.send(&sent).unwrap();
        consumer.recv(&mut got).unwrap();
        assert_eq!(got, sent);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{bytes} bytes")), |b| {
            b.iter(|| {
                producer.send(black_box(&sent)).unwrap();
                consumer.recv(&mut got).unwrap()
            });
        });
    }
}

fn in_place(c: &mut Criterion) {
    let (mut producer, mut consumer) = records::ring(1 << 20).unwrap();
    c.bench_function("records: reserve, commit, peek, release of 64 KiB", |b| {
        b.iter(|| {
            let mut grant = producer.reserve(64 << 10).unwrap();
            grant[0] = black_box(7);
            grant.commit(64 << 10);
            let loan = consumer.peek().unwrap();
            assert_eq!(loan[0], 7);
            loan.release();
        });
    });
}

fn in_pieces(c: &mut Criterion) {
    let mut group = c.benchmark_group("records between two processes");
    for (bytes, ring) in [(64, 64 << 10), (1 << 20, 64 << 10)] {
        group.throughput(Throughput::Bytes(bytes as u64));
        let id = BenchmarkId::from_parameter(format!("{bytes} bytes, ring of {ring}"));
        group.bench_function(id, |b| {
            let (mut producer, mut consumer) = records::ring(ring).unwrap();
            producer.set_wait_strategy(WaitStrategy::Spin);
            consumer.set_wait_strategy(WaitStrategy::Spin);
            let child = Process::spawn(move || {
                let (mut record, mut count) = (Vec::new(), 0u64);
                while consumer.recv(&mut record).is_ok() {
                    assert_eq!(record.len(), bytes);
                    count += 1;
                }
                count
            });
            let child = child.unwrap();
            let sent = vec![7; bytes];
            b.iter(|| producer.send(black_box(&sent)).unwrap());
            drop(producer);
            assert!(child.join().unwrap() > 0);
        });
    }
}

criterion_group!(benches, copied, in_place, in_pieces);
criterion_main!(benches);
