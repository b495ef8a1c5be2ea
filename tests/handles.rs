//! Handles through pipes.

#![cfg(feature = "serde")]

mod common;

use common::{assert_died, child, descriptors, in_child, mappings, name, pause_for_ever, watchdog};
use commons::pipe::{self, Connection, Pipe, PipeError, Reader, Undelivered, Writer};
use commons::{
    Array, ChannelError, Departure, Event, Latest, Mutex, ObjectQueue, Queue, Reset, RwLock,
    Segment, Semaphore, Value, broadcast, latest, objects, queue, records, spsc,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(20);

#[derive(Serialize, Deserialize)]
struct Ends {
    producer: spsc::Producer<u64>,
    consumer: spsc::Consumer<u64>,
    duplex: spsc::Duplex<u64>,
    records: records::Duplex,
    writer: Writer<String>,
    reader: Reader<String>,
    connection: Connection<String>,
    sender: queue::Sender<u64>,
    receiver: queue::Receiver<u64>,
    object_sender: objects::Sender<String>,
    object_receiver: objects::Receiver<String>,
    publisher: latest::Publisher<u64>,
    latest: latest::Reader<u64>,
    broadcasts: broadcast::Sender<u64>,
    hears: broadcast::Receiver<u64>,
}

impl Ends {
    /// Answers everything that comes.
    fn answer(mut self) {
        self.producer.push(self.consumer.pop().unwrap() + 1).unwrap();
        self.duplex.tx.push(self.duplex.rx.pop().unwrap() * 2).unwrap();
        let mut record = Vec::new();
        self.records.rx.recv(&mut record).unwrap();
        self.records.tx.send(&record).unwrap();
        self.writer.send(&self.reader.recv().unwrap()).unwrap();
        let text = self.connection.recv().unwrap();
        self.connection.send(&format!("{text}!")).unwrap();
        self.sender.send(self.receiver.recv().unwrap() + 1).unwrap();
        self.object_sender.send(&self.object_receiver.recv().unwrap()).unwrap();
        self.publisher.publish(&(self.latest.read().unwrap() + 1)).unwrap();
        self.broadcasts.send(self.hears.recv().unwrap() + 1).unwrap();
    }
}

/// Gives one of each kind of end, and talks to who has got them.
fn talk(give: impl FnOnce(Ends)) {
    let (mut to, consumer) = spsc::ring(4).unwrap();
    let (producer, mut from) = spsc::ring(4).unwrap();
    let (mut here, duplex) = spsc::duplex(4).unwrap();
    let (mut asks, records) = records::duplex(1 << 10).unwrap();
    let (reader, mut write) = pipe::simplex().unwrap();
    let (mut read, writer) = pipe::simplex().unwrap();
    let (mut mine, connection) = pipe::pipe().unwrap();
    let (put, receiver) = queue::bounded(4).unwrap();
    let (sender, get) = queue::bounded(4).unwrap();
    let (put_object, object_receiver) = objects::bounded(4).unwrap();
    let (object_sender, get_object) = objects::bounded(4).unwrap();
    let (seen, published) = (Latest::new(&7).unwrap(), Latest::new(&0).unwrap());
    let (mut says, hears) = broadcast::channel(4).unwrap();
    let (broadcasts, mut heard) = broadcast::channel(4).unwrap();
    let (publisher, latest) = (published.publisher().unwrap(), seen.reader().unwrap());
    // On its way before the end moves.
    to.push(1).unwrap();
    mine.send(&"early".to_owned()).unwrap();
    give(Ends {
        producer,
        consumer,
        duplex,
        records,
        writer,
        reader,
        connection,
        sender,
        receiver,
        object_sender,
        object_receiver,
        publisher,
        latest,
        broadcasts,
        hears,
    });
    here.tx.push(21).unwrap();
    asks.tx.send(b"record").unwrap();
    write.send(&"text".to_owned()).unwrap();
    put.send(3).unwrap();
    put_object.send(&"object".to_owned()).unwrap();
    says.send(5).unwrap();
    assert_eq!(from.pop().unwrap(), 2);
    assert_eq!(here.rx.pop().unwrap(), 42);
    assert_eq!(*asks.rx.peek().unwrap(), *b"record");
    assert_eq!(read.recv().unwrap(), "text");
    assert_eq!(mine.recv().unwrap(), "early!");
    assert_eq!(get.recv().unwrap(), 4);
    assert_eq!(get_object.recv().unwrap(), "object");
    assert_eq!(heard.recv().unwrap(), 6);
    // And then the other process has left, with everything.
    assert!(heard.recv().is_err() && get.recv().is_err() && get_object.recv().is_err());
    assert!(mine.recv().unwrap_err().is_end_of_file() && read.recv().is_err());
    assert!(from.pop().is_err());
    // Where there is no room, if not before.
    while put.send(0).is_ok() {}
    while put_object.send(&String::new()).is_ok() {}
    while to.push(0).is_ok() {}
    assert_eq!(published.reader().unwrap().read().unwrap(), 8);
    published.publisher().unwrap();
}

#[test]
fn every_kind_of_end_works_in_the_process_that_got_it() {
    let _watchdog = watchdog();
    // A child that was there before, one that shares nothing by inheritance, and another thread.
    let (mut here, mut there) = pipe::pipe::<()>().unwrap();
    let running = child(move || there.recv_handle::<Ends>().unwrap().answer());
    talk(|ends| here.send_handle(ends).unwrap());
    running.finish();

    let name = name("handles");
    let mut first = Pipe::<()>::create(&name, 1 << 10).unwrap().first().unwrap();
    let theirs = name.to_string();
    let stranger = common::raw_fork(move || {
        let mut second = Pipe::<()>::open(&theirs).unwrap().second().unwrap();
        second.recv_handle::<Ends>().unwrap().answer();
        0
    });
    talk(|ends| first.send_handle(ends).unwrap());
    assert_eq!(stranger.wait(), 0);

    let (mut here, mut there) = pipe::pipe::<()>().unwrap();
    let thread = std::thread::spawn(move || there.recv_handle::<Ends>().unwrap().answer());
    talk(|ends| here.send_handle(ends).unwrap());
    thread.join().unwrap();
}

#[test]
fn what_is_shared_is_shared_with_one_more() {
    let _watchdog = watchdog();
    type Shared = (Mutex<u64>, RwLock<u64>, Array<u64>, Value<u64>, Semaphore, Event);
    let (mut here, mut there) = pipe::pipe::<()>().unwrap();
    let running = child(move || {
        let (mutex, rwlock, array, value, semaphore, event) =
            there.recv_handle::<Shared>().unwrap();
        *mutex.lock().unwrap() += 1;
        *rwlock.write().unwrap() += 2;
        array.set(7, 3).unwrap();
        value.store(4).unwrap();
        semaphore.release(1).unwrap();
        event.set().unwrap();
        // A segment, with what is in it; larger than what a family shares.
        let segment = there.recv_handle::<Segment>().unwrap();
        *Mutex::<u64>::open_in(&segment, "found").unwrap().lock().unwrap() = 9;
        there.send_bytes(b"done").unwrap();
    });
    let mutex = Mutex::new(1).unwrap();
    let rwlock = RwLock::new(1).unwrap();
    let array = Array::new(3_000_000, 0).unwrap();
    let value = Value::new(1).unwrap();
    let (semaphore, event) = (Semaphore::new(0).unwrap(), Event::new(Reset::Manual).unwrap());
    let all: Shared = (
        mutex.clone(),
        rwlock.clone(),
        array.clone(),
        value.clone(),
        semaphore.clone(),
        event.clone(),
    );
    here.send_handle(all).unwrap();
    event.wait().unwrap();
    semaphore.acquire().unwrap();
    assert_eq!((*mutex.lock().unwrap(), *rwlock.read().unwrap()), (2, 3));
    assert_eq!((array.get(7).unwrap(), value.load().unwrap()), (3, 4));
    let segment = Segment::anonymous(1 << 20).unwrap();
    let found = Mutex::new_in(&segment, "found", 0u64).unwrap();
    here.send_handle(segment).unwrap();
    assert_eq!(here.recv_bytes().unwrap(), b"done");
    assert_eq!(*found.lock().unwrap(), 9);
    running.finish();
}

#[test]
fn what_is_asked_for_is_what_comes_or_it_stays() {
    let _watchdog = watchdog();
    let (mut reader, mut writer) = pipe::simplex::<()>().unwrap();
    assert_eq!(
        reader.try_recv_handle::<Event>().unwrap_err(),
        PipeError::Channel(ChannelError::Empty)
    );
    assert_eq!(
        reader.recv_handle_timeout::<Event>(MOMENT).unwrap_err(),
        PipeError::Channel(ChannelError::TimedOut)
    );
    for data in [&[][..], &[7; 48], b"plain"] {
        writer.send_bytes(data).unwrap();
        assert_eq!(reader.recv_handle::<Event>().unwrap_err(), PipeError::NotAHandle);
        assert_eq!(reader.recv_bytes().unwrap(), data);
    }
    let (mut far, near) = pipe::simplex::<u32>().unwrap();
    let giving = std::thread::spawn(move || {
        writer.send_handle(near).unwrap();
        writer.send_fd(File::open("/dev/null").unwrap()).unwrap();
        writer.send_bytes(b"after").unwrap();
    });
    while !reader.poll(None).unwrap() {}
    // A handle is no descriptor, and no handle of another type; then it comes.
    assert_eq!(reader.recv_fd().unwrap_err(), PipeError::NotADescriptor);
    let Err(other) = reader.recv_handle::<Reader<u32>>() else { panic!("the wrong one came") };
    let text = other.to_string();
    assert!(matches!(other, PipeError::OtherHandle { .. }), "{text}");
    assert!(text.contains("Writer<u32>") && text.contains("Reader<u32>"), "{text}");
    assert!(reader.recv_handle::<Writer<u64>>().is_err());
    let mut near = reader.recv_handle::<Writer<u32>>().unwrap();
    near.send(&7).unwrap();
    assert_eq!(far.recv().unwrap(), 7);
    // A descriptor is no handle.
    while !reader.poll(None).unwrap() {}
    assert_eq!(reader.recv_handle::<Event>().unwrap_err(), PipeError::NotAHandle);
    reader.recv_fd().unwrap();
    assert_eq!(reader.recv_bytes().unwrap(), b"after");
    giving.join().unwrap();
}

/// Whether the two ends of a pipe reach each other.
fn reach(a: &mut Connection, b: &mut Connection) {
    a.send_bytes(b"there").unwrap();
    assert_eq!(b.recv_bytes().unwrap(), b"there");
    b.send_bytes(b"back").unwrap();
    assert_eq!(a.recv_bytes().unwrap(), b"back");
}

/// Takes one end apart, and refuses the other.
#[derive(Serialize, Deserialize)]
struct Picky {
    first: Connection,
    #[serde(deserialize_with = "no")]
    refused: u32,
    second: Connection,
}

fn no<'de, D: serde::Deserializer<'de>>(_: D) -> Result<u32, D::Error> {
    Err(serde::de::Error::custom("not this one"))
}

#[test]
fn what_is_not_taken_comes_back_as_it_was() {
    let _watchdog = watchdog();
    in_child(|| {
        let before = descriptors();
        let (mut here, there) = pipe::pipe::<()>().unwrap();
        let (mut reader, mut writer) = pipe::simplex::<()>().unwrap();
        // Not taken in time: then the message leads nowhere.
        let Err(Undelivered { value: mut there, reason }) =
            writer.send_handle_timeout(there, MOMENT)
        else {
            panic!("nobody took it");
        };
        assert_eq!(reason, PipeError::Channel(ChannelError::TimedOut));
        assert_eq!(reader.recv_handle::<Connection>().unwrap_err(), PipeError::HandleLost);
        reach(&mut here, &mut there);
        // Received as bytes.
        let receiving = std::thread::spawn(move || {
            assert_eq!(reader.recv_bytes().unwrap().len(), 48);
            reader
        });
        let Undelivered { value: mut there, reason } = writer.send_handle(there).unwrap_err();
        assert!(matches!(reason, PipeError::HandleRefused(_)), "{reason}");
        let mut reader = receiving.join().unwrap();
        reach(&mut here, &mut there);
        // Refused half-way, by another thread and by another process.
        let (mut other_here, second) = pipe::pipe::<()>().unwrap();
        let taking = std::thread::spawn(move || {
            let refused = reader.recv_handle::<Picky>();
            assert!(matches!(refused, Err(PipeError::NotDeserialised(_))));
            reader
        });
        let picky = Picky { first: there, refused: 3, second };
        let Undelivered { value: mut picky, reason } = writer.send_handle(picky).unwrap_err();
        assert!(matches!(reason, PipeError::HandleRefused(_)), "{reason}");
        let mut reader = taking.join().unwrap();
        reach(&mut here, &mut picky.first);
        reach(&mut other_here, &mut picky.second);
        let refusing = child(move || {
            let refused = reader.recv_handle::<Picky>();
            assert!(matches!(refused, Err(PipeError::NotDeserialised(_))));
            assert_eq!(reader.recv_bytes().unwrap(), b"checked");
        });
        let Undelivered { value: mut picky, .. } = writer.send_handle(picky).unwrap_err();
        reach(&mut here, &mut picky.first);
        reach(&mut other_here, &mut picky.second);
        writer.send_bytes(b"checked").unwrap();
        refusing.finish();
        // Nobody is there.
        let Undelivered { value: mut picky, reason } = writer.send_handle(picky).unwrap_err();
        let closed = ChannelError::Disconnected(Departure::Closed);
        assert_eq!(reason, PipeError::Channel(closed));
        reach(&mut here, &mut picky.first);
        // What is closed is nothing to give.
        let (_reader, mut writer) = pipe::simplex::<()>().unwrap();
        picky.first.close();
        let Undelivered { reason, .. } = writer.send_handle(picky.first).unwrap_err();
        assert!(matches!(reason, PipeError::NotSerialised(_)), "{reason}");
        drop((here, other_here, picky.second, writer, _reader));
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn an_end_whose_receiver_died_is_found_dead_or_comes_back() {
    let _watchdog = watchdog();
    // Before it came for it.
    let (mut control, mut theirs) = pipe::pipe::<()>().unwrap();
    let (mut here, there) = pipe::pipe::<()>().unwrap();
    let lazy = child(move || {
        theirs.send_bytes(b"here").unwrap();
        let _theirs = theirs;
        pause_for_ever();
        #[allow(unreachable_code, reason = "the child returns nothing")]
        ()
    });
    control.recv_bytes().unwrap();
    let giving = std::thread::spawn(move || {
        let Undelivered { value, reason } = control.send_handle(there).unwrap_err();
        (value, reason)
    });
    std::thread::sleep(MOMENT / 4);
    lazy.kill();
    let (mut there, reason) = giving.join().unwrap();
    assert!(reason.is_end_of_file(), "{reason}");
    reach(&mut here, &mut there);
    // When it had it.
    let (mut control, mut theirs) = pipe::pipe::<()>().unwrap();
    let taking = child(move || {
        let mut got = theirs.recv_handle::<Connection>().unwrap();
        got.send_bytes(b"mine").unwrap();
        let _got = got;
        pause_for_ever();
        #[allow(unreachable_code, reason = "the child returns nothing")]
        ()
    });
    let pid = taking.id();
    control.send_handle(there).unwrap();
    assert_eq!(here.recv_bytes().unwrap(), b"mine");
    let killer = std::thread::spawn(move || taking.kill());
    let Err(PipeError::Channel(told)) = here.recv_bytes() else { panic!("nobody sends") };
    assert_died(&Err::<(), _>(told), pid);
    killer.join().unwrap();
}

#[test]
fn an_end_whose_sender_died_is_found_dead() {
    let _watchdog = watchdog();
    let (mut control, mut theirs) = pipe::pipe::<()>().unwrap();
    let (mut here, there) = pipe::pipe::<()>().unwrap();
    let giving = child(move || {
        theirs.send_handle(there).unwrap();
    });
    let pid = giving.id();
    while !control.poll(None).unwrap() {}
    giving.kill();
    let Err(PipeError::Channel(told)) = here.recv_bytes() else { panic!("nobody sends") };
    assert_died(&Err::<(), _>(told), pid);
    assert_eq!(control.recv_handle::<Connection>().unwrap_err(), PipeError::HandleLost);
    assert!(control.recv_handle::<Connection>().unwrap_err().is_end_of_file());
}

#[test]
fn an_end_that_travels_on_and_on_loses_nothing() {
    let _watchdog = watchdog();
    const HOPS: u64 = 50;
    // Two processes give each other the receiving end of a stream, which goes on all the time.
    let (mut here, mut there) = pipe::pipe::<()>().unwrap();
    let (consumer, mut producer) = pipe::simplex_with_capacity::<u64>(256).unwrap();
    let other = child(move || {
        for hop in 0..HOPS {
            let mut consumer = there.recv_handle::<Reader<u64>>().unwrap();
            assert_eq!(consumer.recv().unwrap(), 2 * hop + 1);
            there.send_handle(consumer).unwrap();
        }
    });
    let sending = std::thread::spawn(move || {
        for number in 0..2 * HOPS {
            producer.send(&number).unwrap();
        }
    });
    let mut consumer = consumer;
    for hop in 0..HOPS {
        assert_eq!(consumer.recv().unwrap(), 2 * hop);
        here.send_handle(consumer).unwrap();
        consumer = here.recv_handle().unwrap();
    }
    sending.join().unwrap();
    assert!(consumer.recv().unwrap_err().is_end_of_file());
    other.finish();
}

#[test]
fn who_serves_many_ends_keeps_nothing_of_them() {
    let _watchdog = watchdog();
    let (mut control, mut orders) = pipe::pipe::<()>().unwrap();
    let server = child(move || {
        let mut serve = || {
            let mut client = orders.recv_handle::<Connection<u64>>().unwrap();
            let number = client.recv().unwrap();
            client.send(&(number + 1)).unwrap();
        };
        serve();
        let before = (descriptors(), mappings());
        for _ in 1..1100 {
            serve();
        }
        assert_eq!((descriptors(), mappings()), before);
    });
    for i in 0..1100 {
        let (mut here, there) = pipe::pipe::<u64>().unwrap();
        control.send_handle(there).unwrap();
        here.send(&i).unwrap();
        assert_eq!(here.recv().unwrap(), i + 1);
    }
    server.finish();
}

#[test]
fn queues_count_those_who_got_an_end() {
    let _watchdog = watchdog();
    let (mut control, mut theirs) = pipe::pipe::<()>().unwrap();
    let running = child(move || {
        let sender = theirs.recv_handle::<queue::Sender<u64>>().unwrap();
        let objects = theirs.recv_handle::<objects::Sender<u64>>().unwrap();
        sender.send(1).unwrap();
        objects.send(&2).unwrap();
        let _all = (sender, objects);
        pause_for_ever();
        #[allow(unreachable_code, reason = "the child returns nothing")]
        ()
    });
    let (sender, receiver) = queue::bounded::<u64>(2).unwrap();
    let (objects, gets) = objects::bounded::<u64>(2).unwrap();
    control.send_handle(sender).unwrap();
    control.send_handle(objects).unwrap();
    assert_eq!((receiver.recv().unwrap(), gets.recv().unwrap()), (1, 2));
    assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
    let pid = running.id();
    let killer = std::thread::spawn(move || running.kill());
    assert_died(&receiver.recv(), pid);
    assert_died(&gets.recv(), pid);
    killer.join().unwrap();
    // Both ends in one handle.
    let (queue, objects) = (Queue::<u64>::new(2).unwrap(), ObjectQueue::<u64>::new(2).unwrap());
    let (mut control, mut theirs) = pipe::pipe::<()>().unwrap();
    let running = child(move || {
        let (queue, objects) = theirs.recv_handle::<(Queue<u64>, ObjectQueue<u64>)>().unwrap();
        objects.send(&queue.recv().unwrap()).unwrap();
    });
    control.send_handle((queue.clone(), objects.clone())).unwrap();
    queue.send(7).unwrap();
    assert_eq!(objects.recv().unwrap(), 7);
    running.finish();
}
