//! Each operation of the locks and signals by itself, in one process, uncontended; and what a death
//! costs who finds it.

use commons::{
    Barrier, Condvar, Event, LockedArray, Mutex, Once, OnceCell, PermitPool, RecursiveMutex, Reset,
    RwLock, Semaphore,
};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn locks(c: &mut Criterion) {
    let mutex = Mutex::new(0u64).unwrap();
    let recursive = RecursiveMutex::new(0u64).unwrap();
    let lock = RwLock::new(0u64).unwrap();
    let array = LockedArray::new(4, 0u64).unwrap();
    let mut rounds = 0;
    let mut group = c.benchmark_group("lock");
    group.bench_function("mutex", |b| {
        b.iter(|| {
            rounds += 1;
            *black_box(&mutex).lock().unwrap() += 1;
        });
    });
    assert_eq!(*mutex.lock().unwrap(), rounds);
    group.bench_function("mutex try_lock", |b| {
        b.iter(|| drop(black_box(&mutex).try_lock().unwrap()));
    });
    let other = Mutex::new(0u64).unwrap();
    group.bench_function("mutex, below another", |b| {
        let _guard = other.lock().unwrap();
        b.iter(|| drop(black_box(&mutex).lock().unwrap()));
    });
    group.bench_function("recursive mutex", |b| {
        b.iter(|| drop(black_box(&recursive).lock().unwrap()));
    });
    group.bench_function("recursive mutex, once more", |b| {
        let _guard = recursive.lock().unwrap();
        b.iter(|| drop(black_box(&recursive).lock().unwrap()));
    });
    group.bench_function("rwlock read", |b| b.iter(|| drop(black_box(&lock).read().unwrap())));
    group.bench_function("rwlock write", |b| b.iter(|| drop(black_box(&lock).write().unwrap())));
    group.bench_function("locked array", |b| b.iter(|| black_box(&array).lock().unwrap()[0] += 1));
    assert!(array.lock().unwrap()[0] > 0);
}

fn signals(c: &mut Criterion) {
    let (manual, auto) = (Event::new(Reset::Manual).unwrap(), Event::new(Reset::Auto).unwrap());
    let (semaphore, pool) = (Semaphore::new(1).unwrap(), PermitPool::new(4).unwrap());
    let condvar = Condvar::new().unwrap();
    let mut group = c.benchmark_group("signal");
    group.bench_function("event set and reset", |b| {
        b.iter(|| {
            black_box(&manual).set().unwrap();
            manual.reset().unwrap();
        });
    });
    group.bench_function("event set and wait", |b| {
        b.iter(|| {
            black_box(&auto).set().unwrap();
            auto.wait().unwrap();
        });
    });
    group.bench_function("semaphore acquire and release", |b| {
        b.iter(|| {
            black_box(&semaphore).acquire().unwrap();
            semaphore.release(1).unwrap();
        });
    });
    assert_eq!(semaphore.value(), 1);
    group.bench_function("permit", |b| b.iter(|| drop(black_box(&pool).acquire().unwrap())));
    assert_eq!(pool.available(), 4);
    group.bench_function("condvar notify_one, nobody waits", |b| {
        b.iter(|| black_box(&condvar).notify_one().unwrap());
    });
}

fn others(c: &mut Criterion) {
    let (once, cell) = (Once::new().unwrap(), OnceCell::new().unwrap());
    let barrier = Barrier::new(1).unwrap();
    once.call_once(|| ()).unwrap();
    let mut group = c.benchmark_group("other");
    group.bench_function("once, done", |b| {
        b.iter(|| black_box(&once).call_once(|| unreachable!("done before")).unwrap());
    });
    group.bench_function("once cell, made", |b| {
        b.iter(|| assert_eq!(*black_box(&cell).get_or_init(|| 7u64).unwrap(), 7));
    });
    group.bench_function("barrier of one", |b| {
        b.iter(|| assert!(black_box(&barrier).wait().unwrap().is_leader()));
    });
}

/// A thread ends with the lock, and the next owner repairs.
fn repair(c: &mut Criterion) {
    let mutex = Mutex::new(0u64).unwrap();
    let mut deaths = 0;
    c.bench_function("a thread that ends with a mutex, and its repair", |b| {
        b.iter(|| {
            deaths += 1;
            let of_thread = mutex.clone();
            let owner = std::thread::spawn(move || std::mem::forget(of_thread.lock().unwrap()));
            owner.join().unwrap();
            let mut found = false;
            drop(mutex.lock_or_repair(|value| {
                found = true;
                *value += 1;
            }));
            assert!(found);
        });
    });
    assert_eq!(*mutex.lock().unwrap(), deaths);
}

criterion_group!(benches, locks, signals, others, repair);
criterion_main!(benches);
