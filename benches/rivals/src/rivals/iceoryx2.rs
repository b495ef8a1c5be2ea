//! iceoryx2: publish and subscribe between two nodes, over loaned chunks; the publisher waits
//! while the subscriber's buffer is full. The row that parks adds its events.

use std::fmt::Debug;
use std::hint::black_box;
use std::mem::MaybeUninit;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::sample::Sample;

use crate::guard;
use crate::peer::{self, Plan};
use crate::work::{
    BATCH, BIG_SLOTS, Big, Checker, KIB_SLOTS, Kib, Result, Source, WORDS, same, word,
};

type Own = ipc::Service;

/// A node whose files carry the name of this run.
pub(super) fn node() -> Result<Node<Own>> {
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    config.global.prefix = FileName::new(guard::name("iox2-").as_bytes())?;
    let directory = guard::directory();
    config.global.set_root_path(&Path::new(directory.as_os_str().as_encoded_bytes())?);
    Ok(NodeBuilder::new()
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .config(&config)
        .create()?)
}

/// The sending end of a service that buffers `capacity` items.
fn publisher<T>(node: &Node<Own>, name: &str, capacity: usize) -> Result<Publisher<Own, T, ()>>
where
    T: Debug + ZeroCopySend + 'static,
{
    let service = node
        .service_builder(&name.try_into()?)
        .publish_subscribe::<T>()
        .enable_safe_overflow(false)
        .history_size(0)
        .subscriber_max_buffer_size(capacity)
        .open_or_create()?;
    Ok(service
        .publisher_builder()
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create()?)
}

/// The receiving end of a service that buffers `capacity` items.
fn subscriber<T>(node: &Node<Own>, name: &str, capacity: usize) -> Result<Subscriber<Own, T, ()>>
where
    T: Debug + ZeroCopySend + 'static,
{
    let service = node
        .service_builder(&name.try_into()?)
        .publish_subscribe::<T>()
        .enable_safe_overflow(false)
        .history_size(0)
        .subscriber_max_buffer_size(capacity)
        .open_or_create()?;
    Ok(service.subscriber_builder().buffer_size(capacity).create()?)
}

/// Waits for the next item, polling.
fn next<T: Debug + ZeroCopySend>(rx: &Subscriber<Own, T, ()>) -> Result<Sample<Own, T, ()>> {
    loop {
        if let Some(sample) = rx.receive()? {
            return Ok(sample);
        }
    }
}

/// Sends one item, written into its chunk by `write`. A publisher whose subscriber has not yet
/// noticed it drops what its buffer cannot hold: sent again until it is delivered.
fn send<T: Debug + ZeroCopySend>(
    tx: &Publisher<Own, T, ()>,
    write: impl Fn(&mut MaybeUninit<T>),
) -> Result<()> {
    loop {
        let mut sample = tx.loan_uninit()?;
        write(sample.payload_mut());
        // SAFETY: `write` has written what the receiver reads, and any bytes are valid words.
        if unsafe { sample.assume_init() }.send()? > 0 {
            return Ok(());
        }
    }
}

/// A stream of `T`: `take` checks what came, `write` writes message number `i`.
fn stream<T>(
    plan: &Plan,
    capacity: usize,
    words_in_item: u64,
    take: impl Fn(&mut Checker, &T),
    write: impl Fn(&mut MaybeUninit<T>, u64),
) -> Result<f64>
where
    T: Debug + ZeroCopySend + 'static,
{
    let consume = || {
        let node = node()?;
        let rx = subscriber::<T>(&node, "stream", capacity)?;
        Ok(move |n| {
            let _node = &node;
            let mut checker = Checker::default();
            for _ in 0..n / words_in_item {
                let sample = next(&rx)?;
                take(&mut checker, &sample);
            }
            checker.count()
        })
    };
    let produce = || {
        let node = node()?;
        let tx = publisher::<T>(&node, "stream", capacity)?;
        Ok(move |n| {
            let _node = &node;
            for i in 0..n / words_in_item {
                send(&tx, |item| write(item, i))?;
            }
            Ok(n)
        })
    };
    peer::forked(plan, consume, produce)
}

/// Words one by one.
pub(crate) fn stream_u64(plan: &Plan) -> Result<f64> {
    let take = |checker: &mut Checker, item: &u64| checker.take(*item);
    stream(plan, WORDS, 1, take, |item, i| {
        item.write(word(i));
    })
}

/// Words in batches: one chunk each.
pub(crate) fn stream_batch(plan: &Plan) -> Result<f64> {
    let take = |checker: &mut Checker, batch: &[u64; BATCH]| checker.take_all(batch);
    let source = Source::<BATCH>::new();
    stream(plan, WORDS / BATCH, BATCH as u64, take, |batch, i| {
        batch.write(*source.at(i));
    })
}

/// 64 KiB chunks written and read in place.
pub(crate) fn inplace_64k(plan: &Plan) -> Result<f64> {
    let take = |checker: &mut Checker, message: &Big| checker.take_big(message[0], message[8191]);
    stream(plan, BIG_SLOTS, 1, take, |message, i| {
        let words = message.as_mut_ptr().cast::<u64>();
        // SAFETY: a chunk of 8,192 words is ours.
        unsafe { words.write(word(i)) };
        // SAFETY: as above.
        unsafe { words.add(8191).write(!word(i)) };
    })
}

/// 1 KiB messages copied into a chunk and out of it.
pub(crate) fn copy_1k(plan: &Plan) -> Result<f64> {
    let take = |checker: &mut Checker, message: &Kib| {
        let copy = *message;
        checker.take_kib(black_box(&copy));
    };
    let source = Source::<128>::new();
    stream(plan, KIB_SLOTS, 1, take, |chunk, i| {
        chunk.write(*source.at(i));
    })
}

/// A word there and back, polling.
pub(crate) fn rtt_poll(plan: &Plan) -> Result<f64> {
    let pong = || {
        let node = node()?;
        let rx = subscriber::<u64>(&node, "there", 1)?;
        let answer = publisher::<u64>(&node, "back", 1)?;
        Ok(move |n| {
            let _node = &node;
            for _ in 0..n {
                let item = *next(&rx)?;
                answer.send_copy(item)?;
            }
            Ok(n)
        })
    };
    let ping = || {
        let node = node()?;
        let tx = publisher::<u64>(&node, "there", 1)?;
        let answers = subscriber::<u64>(&node, "back", 1)?;
        Ok(move |n| {
            let _node = &node;
            for i in 0..n {
                tx.send_copy(word(i))?;
                same(*next(&answers)?, word(i))?;
            }
            Ok(n)
        })
    };
    peer::forked(plan, pong, ping)
}

/// The sending end of an event.
fn notifier(node: &Node<Own>, name: &str) -> Result<Notifier<Own>> {
    let event = node.service_builder(&name.try_into()?).event().open_or_create()?;
    Ok(event.notifier_builder().create()?)
}

/// The receiving end of an event.
fn listener(node: &Node<Own>, name: &str) -> Result<Listener<Own>> {
    let event = node.service_builder(&name.try_into()?).event().open_or_create()?;
    Ok(event.listener_builder().create()?)
}

/// Waits for the next item, asleep until the event that follows it.
fn next_asleep(rx: &Subscriber<Own, u64, ()>, bell: &Listener<Own>) -> Result<u64> {
    loop {
        bell.blocking_wait(|_| {})?;
        if let Some(sample) = rx.receive()? {
            return Ok(*sample);
        }
    }
}

/// A word there and back, asleep while it travels: an event follows each.
pub(crate) fn rtt_park(plan: &Plan) -> Result<f64> {
    let think = plan.think();
    let pong = || {
        let node = node()?;
        let (rx, bell) = (subscriber::<u64>(&node, "there", 1)?, listener(&node, "there")?);
        let (answer, ring) = (publisher::<u64>(&node, "back", 1)?, notifier(&node, "back")?);
        Ok(move |n| {
            let _node = &node;
            for _ in 0..n {
                let item = next_asleep(&rx, &bell)?;
                think.now();
                answer.send_copy(item)?;
                ring.notify()?;
            }
            Ok(n)
        })
    };
    let ping = || {
        let node = node()?;
        let (tx, ring) = (publisher::<u64>(&node, "there", 1)?, notifier(&node, "there")?);
        let (answers, bell) = (subscriber::<u64>(&node, "back", 1)?, listener(&node, "back")?);
        Ok(move |n| {
            let _node = &node;
            for i in 0..n {
                think.now();
                tx.send_copy(word(i))?;
                ring.notify()?;
                same(next_asleep(&answers, &bell)?, word(i))?;
            }
            Ok(n)
        })
    };
    peer::forked(plan, pong, ping)
}
