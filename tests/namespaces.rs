//! Locks and signals in a real pid namespace, where thread ids mean other threads.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "makes a pid namespace")]

mod common;

use common::{in_child, name, watchdog};
use commons::{
    Error, Event, LockError, Mutex, OnceCell, PermitPool, Process, RecursiveMutex, Reset, RwLock,
    Semaphore,
};

/// Runs `f` in a process that is the first of a new pid namespace: false where the kernel does not
/// let this user make one.
fn in_new_namespace(f: impl FnOnce() + Send + 'static) -> bool {
    in_child(move || {
        // A user namespace gives the right to make others.
        let done = [libc::CLONE_NEWPID, libc::CLONE_NEWUSER | libc::CLONE_NEWPID]
            .into_iter()
            // SAFETY: takes flags. The process has one thread; its children are in the namespace.
            .any(|flags| unsafe { libc::unshare(flags) } == 0);
        if !done {
            let error = std::io::Error::last_os_error();
            eprintln!("not tested: the kernel refuses a pid namespace ({error})");
            return false;
        }
        let inside = Process::spawn(move || {
            // SAFETY: takes nothing.
            assert_eq!(unsafe { libc::getpid() }, 1);
            f();
        });
        inside.expect("a child").join().expect("its work");
        true
    })
}

#[test]
fn locks_of_another_namespace_say_so_and_change_nothing() {
    let _watchdog = watchdog();
    let name = name("namespaces");
    let named = Mutex::create(&name, 7u64).unwrap();
    let mutex = Mutex::new(7u64).unwrap();
    let (copy, path) = (mutex.clone(), name.to_string());
    let (recursive, lock) = (RecursiveMutex::new(1u64).unwrap(), RwLock::new(1u64).unwrap());
    let (cell, pool) = (OnceCell::<u64>::new().unwrap(), PermitPool::new(1).unwrap());
    in_new_namespace(move || {
        let refused = LockError::OtherPidNamespace;
        assert!(matches!(Mutex::<u64>::open(&path), Err(Error::OtherPidNamespace { .. })));
        assert_eq!(copy.lock().unwrap_err(), refused);
        assert_eq!(copy.try_lock().unwrap_err(), refused);
        assert_eq!(recursive.lock().unwrap_err(), refused);
        assert_eq!(lock.read().unwrap_err(), refused);
        assert_eq!(lock.write().unwrap_err(), refused);
        assert_eq!(cell.get_or_init(|| 1).unwrap_err(), refused);
        assert_eq!(pool.acquire().unwrap_err(), refused);
    });
    // With what they are, nothing happened: also while they are held.
    let (copy, held) = (mutex.clone(), mutex.clone());
    let (locked, go_on) = (Event::new(Reset::Auto).unwrap(), Event::new(Reset::Auto).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _guard = held.lock().unwrap();
            locked.set().unwrap();
            go_on.wait().unwrap();
        });
        locked.wait().unwrap();
        in_new_namespace(move || assert!(copy.lock().is_err()));
        assert!(mutex.is_locked());
        go_on.set().unwrap();
    });
    drop((mutex.lock().unwrap(), named.lock().unwrap()));
}

#[test]
fn a_namespace_has_locks_of_its_own() {
    let _watchdog = watchdog();
    // The family has an arena that was made outside.
    let outside = Mutex::new(0u64).unwrap();
    in_new_namespace(|| {
        let mutex = Mutex::new(1u64).unwrap();
        *mutex.lock().unwrap() += 1;
        let copy = mutex.clone();
        let child = Process::spawn(move || {
            *copy.lock().unwrap() += 1;
            std::mem::forget(copy.lock().unwrap());
            std::process::abort();
        });
        let _: Result<(), _> = child.unwrap().join();
        assert!(matches!(mutex.lock(), Err(LockError::OwnerDied { .. })));
        assert_eq!(*mutex.lock_or_repair(|_| ()).unwrap(), 3);
    });
    drop(outside.lock().unwrap());
}

#[test]
fn signals_work_between_namespaces() {
    let _watchdog = watchdog();
    let (event, semaphore) = (Event::new(Reset::Manual).unwrap(), Semaphore::new(0).unwrap());
    let (set, release) = (event.clone(), semaphore.clone());
    let tried = in_new_namespace(move || {
        set.set().unwrap();
        release.release(1).unwrap();
    });
    if tried {
        event.wait().unwrap();
        semaphore.acquire().unwrap();
    }
}
