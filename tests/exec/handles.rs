//! Handles that go to a child that inherits no memory.

use crate::starts::exec;
use commons::process::Process;
use commons::{
    Array, AtomicU64, Barrier, ChannelError, Condvar, Error, Event, JoinableQueue, Latest,
    LockedArray, Mutex, ObjectQueue, Once, OnceCell, PermitPool, Queue, RecursiveMutex, Reset,
    RwLock, Segment, Semaphore, Value, broadcast, pipe, queue, records, spsc,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::atomic::Ordering::Relaxed;

crate::tests! {
    every_kind_of_end_is_the_childs
    every_kind_of_object_is_shared
    an_end_that_was_handed_over_is_found_dead_with_the_child
    an_end_is_handed_over_once
    handles_travel_by_serde_to_children_alone
    handles_travel_through_pipes
    what_was_forged_makes_no_handle
    objects_are_passed_on
    a_forked_childs_handles_travel
    named_objects_travel
}

#[derive(Serialize, Deserialize)]
struct Ends {
    producer: spsc::Producer<u64>,
    consumer: spsc::Consumer<u64>,
    duplex: spsc::Duplex<u64>,
    sends: records::Producer,
    receives: records::Consumer,
    records: records::Duplex,
    writer: pipe::Writer<String>,
    reader: pipe::Reader<String>,
    connection: pipe::Connection<String>,
    sender: queue::Sender<u64>,
    receiver: queue::Receiver<u64>,
    publisher: commons::latest::Publisher<u64>,
    latest: commons::latest::Reader<u64>,
    broadcasts: broadcast::Sender<u64>,
    hears: broadcast::Receiver<u64>,
}

fn use_ends(mut ends: Ends) -> Option<u64> {
    let number = ends.consumer.pop().ok()?;
    ends.producer.push(number + 1).ok()?;
    let asked = ends.duplex.rx.pop().ok()?;
    ends.duplex.tx.push(asked * 2).ok()?;
    let mut record = Vec::new();
    ends.receives.recv(&mut record).ok()?;
    ends.sends.send(&record).ok()?;
    ends.records.rx.recv(&mut record).ok()?;
    ends.records.tx.send(&record).ok()?;
    let text = ends.reader.recv().ok()?;
    ends.writer.send(&text).ok()?;
    let text = ends.connection.recv().ok()?;
    ends.connection.send(&format!("{text}!")).ok()?;
    ends.sender.send(ends.receiver.recv().ok()? + 1).ok()?;
    ends.publisher.publish(&(ends.latest.read().ok()? + 1)).ok()?;
    ends.broadcasts.send(ends.hears.recv().ok()? + 1).ok()?;
    // It has seen what there is; the one from before it was made would come otherwise.
    matches!(ends.hears.try_recv(), Err(ChannelError::Empty)).then_some(number)
}

fn every_kind_of_end_is_the_childs() {
    let (mut to, consumer) = spsc::ring(4).unwrap();
    let (producer, mut from) = spsc::ring(4).unwrap();
    let (mut here, duplex) = spsc::duplex(4).unwrap();
    let (mut send, receives) = records::ring(1 << 10).unwrap();
    let (sends, mut receive) = records::ring(1 << 10).unwrap();
    let (mut asks, answers) = records::duplex(1 << 10).unwrap();
    let (reader, mut write) = pipe::simplex().unwrap();
    let (mut read, writer) = pipe::simplex().unwrap();
    let (mut mine, connection) = pipe::pipe().unwrap();
    let (put, receiver) = queue::bounded(4).unwrap();
    let (sender, get) = queue::bounded(4).unwrap();
    let (seen, published) = (Latest::new(&7).unwrap(), Latest::new(&0).unwrap());
    let (mut says, mut hears) = broadcast::channel(4).unwrap();
    let (broadcasts, mut heard) = broadcast::channel(4).unwrap();
    says.send(1).unwrap();
    assert_eq!(hears.recv().unwrap(), 1);
    let ends = Ends {
        producer,
        consumer,
        duplex,
        sends,
        receives,
        records: answers,
        writer,
        reader,
        connection,
        sender,
        receiver,
        publisher: published.publisher().unwrap(),
        latest: seen.reader().unwrap(),
        broadcasts,
        hears,
    };
    let child = exec().call(use_ends, ends).unwrap();
    to.push(5).unwrap();
    assert_eq!(from.pop().unwrap(), 6);
    here.tx.push(21).unwrap();
    assert_eq!(here.rx.pop().unwrap(), 42);
    let mut record = Vec::new();
    send.send(b"a record of some length").unwrap();
    assert_eq!(
        (receive.recv(&mut record).unwrap(), &*record),
        (23, &b"a record of some length"[..])
    );
    asks.tx.send(b"?").unwrap();
    assert_eq!(asks.rx.recv(&mut record).unwrap(), 1);
    write.send(&"there".to_owned()).unwrap();
    assert_eq!(read.recv().unwrap(), "there");
    mine.send(&"hello".to_owned()).unwrap();
    assert_eq!(mine.recv().unwrap(), "hello!");
    put.send(8).unwrap();
    assert_eq!(get.recv().unwrap(), 9);
    says.send(10).unwrap();
    assert_eq!(heard.recv().unwrap(), 11);
    assert_eq!(child.join().unwrap(), Some(5));
    assert_eq!(published.reader().unwrap().read().unwrap(), 8);
    // All of it went in order with the child.
    assert!(from.pop().is_err() && get.recv().is_err() && heard.recv().is_err());
    assert!(mine.recv().is_err() && read.recv().is_err());
}

#[derive(Clone, Serialize, Deserialize)]
struct Objects {
    mutex: Mutex<u64>,
    recursive: RecursiveMutex<u64>,
    rwlock: RwLock<u64>,
    condvar: Condvar,
    event: Event,
    semaphore: Semaphore,
    pool: PermitPool,
    barrier: Barrier,
    once: Once,
    cell: OnceCell<u64>,
    locked: LockedArray<u64>,
    value: Value<[u64; 9]>,
    array: Array<u32>,
    atomic: AtomicU64,
    latest: Latest<u64>,
    queue: Queue<u64>,
    objects: ObjectQueue<String>,
    tasks: JoinableQueue<String>,
    ring: spsc::Ring<u64>,
    segment: Segment,
    nested: Vec<Option<Mutex<bool>>>,
}

fn use_objects(objects: Objects) -> bool {
    *objects.mutex.lock().unwrap() += 1;
    objects.condvar.notify_all().unwrap();
    objects.recursive.lock().unwrap().set(2);
    *objects.rwlock.write().unwrap() = 3;
    objects.event.set().unwrap();
    assert!(objects.semaphore.try_acquire().unwrap());
    drop(objects.pool.acquire().unwrap());
    objects.once.call_once(|| {}).unwrap();
    assert!(objects.cell.set(4).unwrap().is_ok());
    objects.locked.lock().unwrap()[1] = 5;
    objects.value.store([6; 9]).unwrap();
    objects.array.set(2, 7).unwrap();
    objects.atomic.store(8, Relaxed);
    objects.latest.publisher().unwrap().publish(&9).unwrap();
    objects.queue.send(10).unwrap();
    objects.objects.send(&"eleven".to_owned()).unwrap();
    let task = objects.tasks.recv().unwrap();
    task.done();
    objects.ring.producer().unwrap().push(12).unwrap();
    assert_eq!(*Mutex::<u8>::open_in(&objects.segment, "m").unwrap().lock().unwrap(), 13);
    *objects.nested[1].as_ref().unwrap().lock().unwrap() = true;
    objects.barrier.wait().unwrap();
    true
}

fn every_kind_of_object_is_shared() {
    let segment = Segment::anonymous(1 << 16).unwrap();
    let _inside = Mutex::new_in(&segment, "m", 13u8).unwrap();
    let objects = Objects {
        mutex: Mutex::new(0).unwrap(),
        recursive: RecursiveMutex::new(0).unwrap(),
        rwlock: RwLock::new(0).unwrap(),
        condvar: Condvar::new().unwrap(),
        event: Event::new(Reset::Manual).unwrap(),
        semaphore: Semaphore::new(1).unwrap(),
        pool: PermitPool::new(2).unwrap(),
        barrier: Barrier::new(2).unwrap(),
        once: Once::new().unwrap(),
        cell: OnceCell::new().unwrap(),
        locked: LockedArray::new(3, 0).unwrap(),
        value: Value::new([0; 9]).unwrap(),
        array: Array::new(4, 0).unwrap(),
        atomic: AtomicU64::new(0).unwrap(),
        latest: Latest::new(&0).unwrap(),
        queue: Queue::new(2).unwrap(),
        objects: ObjectQueue::new(1 << 10).unwrap(),
        tasks: JoinableQueue::new(1 << 10).unwrap(),
        ring: spsc::Ring::new_in(&segment, "ring", 2).unwrap(),
        nested: vec![None, Some(Mutex::new(false).unwrap())],
        segment,
    };
    objects.tasks.send(&"task".to_owned()).unwrap();
    let child = exec().call(use_objects, objects.clone()).unwrap();
    objects.barrier.wait().unwrap();
    assert!(child.join().unwrap());
    assert_eq!(*objects.mutex.lock().unwrap(), 1);
    assert_eq!(objects.recursive.lock().unwrap().get(), 2);
    assert_eq!(*objects.rwlock.read().unwrap(), 3);
    assert!(objects.event.is_set());
    assert!(!objects.semaphore.try_acquire().unwrap());
    assert!(objects.once.is_completed());
    assert_eq!(objects.cell.get().unwrap(), Some(&4));
    assert_eq!(objects.locked.lock().unwrap()[..], [0, 5, 0]);
    assert_eq!(objects.value.load().unwrap(), [6; 9]);
    assert_eq!(objects.array.get(2).unwrap(), 7);
    assert_eq!(objects.atomic.load(Relaxed), 8);
    assert_eq!(objects.latest.reader().unwrap().read().unwrap(), 9);
    assert_eq!(objects.queue.recv().unwrap(), 10);
    assert_eq!(objects.objects.recv().unwrap(), "eleven");
    objects.tasks.join().unwrap();
    assert_eq!(objects.ring.consumer().unwrap().pop().unwrap(), 12);
    assert!(*objects.nested[1].as_ref().unwrap().lock().unwrap());
}

fn an_end_that_was_handed_over_is_found_dead_with_the_child() {
    let (producer, mut consumer) = spsc::ring::<u8>(1).unwrap();
    let (sender, receiver) = queue::bounded::<u8>(1).unwrap();
    let stays: fn((spsc::Producer<u8>, queue::Sender<u8>)) = |(mut producer, sender)| {
        producer.push(1).unwrap();
        sender.send(1).unwrap();
        loop {
            std::thread::park();
        }
    };
    let child = exec().call(stays, (producer, sender)).unwrap();
    assert_eq!((consumer.pop().unwrap(), receiver.recv().unwrap()), (1, 1));
    child.kill().unwrap();
    let died = |error: &ChannelError| {
        matches!(error, ChannelError::Disconnected(commons::Departure::Died { .. }))
    };
    let error = consumer.pop().unwrap_err();
    assert!(died(&error), "{error}");
    let error = receiver.recv().unwrap_err();
    assert!(died(&error), "{error}");
    child.wait().unwrap();
}

/// One end that is serialised as often as it says, and is several when it comes.
struct Again(spsc::Producer<u64>, usize);

impl Serialize for Again {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(std::iter::repeat_n(&self.0, self.1))
    }
}

impl<'de> Deserialize<'de> for Again {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut ends = Vec::<spsc::Producer<u64>>::deserialize(deserializer)?;
        let count = ends.len();
        ends.pop().map(|end| Again(end, count)).ok_or_else(|| serde::de::Error::custom("none"))
    }
}

fn an_end_is_handed_over_once() {
    let (producer, mut consumer) = spsc::ring(1).unwrap();
    let push: fn(Again) = |mut end| end.0.push(1).unwrap();
    match exec().call(push, Again(producer, 2)) {
        Err(Error::Process { what: "serialising the argument", .. }) => {}
        other => panic!("{other:?}"),
    }
    // It went with the argument.
    assert!(consumer.pop().is_err());
    let (producer, mut consumer) = spsc::ring(1).unwrap();
    exec().call(push, Again(producer, 1)).unwrap().join().unwrap();
    assert_eq!(consumer.pop().unwrap(), 1);
}

fn handles_travel_by_serde_to_children_alone() {
    let mutex = Mutex::new(0u8).unwrap();
    let queue = ObjectQueue::<Mutex<u8>>::new(1 << 10).unwrap();
    let refused = queue.send(&mutex).unwrap_err().to_string();
    assert!(queue.is_empty(), "{refused}");
    let in_child = mutex.clone();
    let joined = Process::spawn(move || in_child).unwrap().join();
    assert!(matches!(joined, Err(commons::JoinError::Result { .. })), "{joined:?}");
    let joined = exec().call(|mutex: Mutex<u8>| mutex, mutex).unwrap().join();
    assert!(matches!(joined, Err(commons::JoinError::Result { .. })), "{joined:?}");
}

/// Two programs that share nothing but a pipe give each other ends that were made after the start.
fn handles_travel_through_pipes() {
    let (mut here, there) = pipe::pipe::<()>().unwrap();
    let take: fn(pipe::Connection) -> u64 = |mut there| {
        let mutex = Mutex::new(7u64).unwrap();
        let (mut mine, yours) = pipe::pipe::<u64>().unwrap();
        there.send_handle((mutex.clone(), yours)).unwrap();
        let mut sender = there.recv_handle::<queue::Sender<u64>>().unwrap();
        sender.set_wait_strategy(commons::WaitStrategy::Park);
        sender.send(mine.recv().unwrap()).unwrap();
        *mutex.lock().unwrap()
    };
    let child = exec().call(take, there).unwrap();
    let (mutex, mut end) = here.recv_handle::<(Mutex<u64>, pipe::Connection<u64>)>().unwrap();
    *mutex.lock().unwrap() += 1;
    let (sender, receiver) = queue::bounded::<u64>(1).unwrap();
    here.send_handle(sender).unwrap();
    end.send(&11).unwrap();
    assert_eq!(receiver.recv().unwrap(), 11);
    assert_eq!(child.join().unwrap(), 8);
}

/// What is written as one thing and read as another.
struct Forged<A, B>(Option<A>, Option<B>);

impl<A: Serialize, B> Serialize for Forged<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().unwrap().serialize(serializer)
    }
}

impl<'de, A, B: Deserialize<'de>> Deserialize<'de> for Forged<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        B::deserialize(deserializer).map(|come| Forged(None, Some(come)))
    }
}

fn forge<A, B>(given: A) -> String
where
    A: Serialize + Send + for<'de> Deserialize<'de> + 'static,
    B: Serialize + Send + for<'de> Deserialize<'de> + 'static,
{
    let call: fn(Forged<A, B>) = |forged| assert!(forged.1.is_some());
    match exec().call(call, Forged(Some(given), None)).unwrap().join() {
        Err(error @ commons::JoinError::Argument { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn what_was_forged_makes_no_handle() {
    // A number that was no handle, a handle of another type, of another element, the other end.
    forge::<u32, Mutex<u64>>(0);
    forge::<u32, spsc::Producer<u64>>(1);
    forge::<Mutex<u64>, RwLock<u64>>(Mutex::new(0).unwrap());
    forge::<Mutex<u64>, Mutex<u32>>(Mutex::new(0).unwrap());
    let (producer, consumer) = spsc::ring(1).unwrap();
    forge::<spsc::Producer<u64>, spsc::Producer<[u32; 2]>>(producer);
    forge::<spsc::Consumer<u64>, spsc::Producer<u64>>(consumer);
}

fn pass_on((depth, sum): (u64, Mutex<u64>)) {
    *sum.lock().unwrap() += depth;
    if depth > 0 {
        Process::call(pass_on, (depth - 1, sum)).unwrap().join().unwrap();
    }
}

fn objects_are_passed_on() {
    let sum = Mutex::new(0).unwrap();
    exec().call(pass_on, (3, sum.clone())).unwrap().join().unwrap();
    assert_eq!(*sum.lock().unwrap(), 6);
}

fn a_forked_childs_handles_travel() {
    let (producer, mut consumer) = spsc::ring::<u64>(2).unwrap();
    let sum = Mutex::new(0).unwrap();
    let theirs = sum.clone();
    let child = Process::spawn(move || {
        let push: fn(spsc::Producer<u64>) = |mut producer| producer.push(1).unwrap();
        exec().call(push, producer).unwrap().join().unwrap();
        exec().call(pass_on, (2, theirs)).unwrap().join().unwrap();
    });
    child.unwrap().join().unwrap();
    assert_eq!((consumer.pop().unwrap(), *sum.lock().unwrap()), (1, 3));
    assert!(consumer.pop().is_err());
}

fn named_objects_travel() {
    let name = crate::common::name("mutex");
    let mutex = Mutex::create(&name, 1u64).unwrap();
    // Whatever becomes of the name.
    Mutex::<u64>::unlink(&name).unwrap();
    let add: fn(Mutex<u64>) = |mutex| *mutex.lock().unwrap() += 1;
    exec().call(add, mutex.clone()).unwrap().join().unwrap();
    assert_eq!(*mutex.lock().unwrap(), 2);
}
