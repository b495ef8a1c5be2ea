//! Several producers, several consumers, one of each killed on the way; and where every message went.
//!
//! Messages that a consumer dies holding are lost with it, and named: by its number here, and by its
//! content from what the consumer had noted.

use commons::{Array, AtomicU64, Process, queue};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::Ordering::SeqCst;

const PRODUCERS: u64 = 4;
const CONSUMERS: usize = 3;
const MESSAGES: u64 = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let (sender, receiver) = queue::bounded::<u64>(64)?;

    // What each has done, where it survives them.
    let published = Array::new(PRODUCERS as usize, 0u64)?;
    let mut producers = Vec::new();
    for producer in 0..PRODUCERS {
        let (sender, published) = (sender.clone(), published.clone());
        producers.push(Process::spawn(move || {
            for i in 0..MESSAGES {
                sender.send(producer * MESSAGES + i).expect("somebody receives");
                published.set(producer as usize, i + 1).expect("in range");
            }
        })?);
    }
    // 1: consumer 0 is to keep its next message; 2: it does.
    let moment = AtomicU64::new(0)?;
    let (mut consumers, mut logs) = (Vec::new(), Vec::new());
    for consumer in 0..CONSUMERS {
        let log = Array::new((PRODUCERS * MESSAGES) as usize, 0u64)?;
        let (count, holds) = (AtomicU64::new(0)?, AtomicU64::new(0)?);
        logs.push((log.clone(), count.clone(), holds.clone()));
        let (receiver, moment) = (receiver.clone(), moment.clone());
        consumers.push(Process::spawn(move || {
            while let Ok(message) = receiver.loan() {
                let number = count.load(SeqCst);
                holds.store(*message + 1, SeqCst);
                if consumer == 0 && moment.load(SeqCst) == 1 {
                    // Has a message when it is killed.
                    moment.store(2, SeqCst);
                    loop {
                        std::thread::park();
                    }
                }
                log.set(number as usize, *message).expect("room for all");
                message.release();
                count.store(number + 1, SeqCst);
                holds.store(0, SeqCst);
            }
        })?);
    }
    drop(sender);

    // One of each.
    while published.get(0)? < MESSAGES / 4 {
        std::thread::yield_now();
    }
    let victim = producers.remove(0);
    victim.kill()?;
    println!("killed producer 0: {}", victim.join().expect_err("it was killed"));
    moment.store(1, SeqCst);
    while moment.load(SeqCst) != 2 {
        std::thread::yield_now();
    }
    let victim = consumers.remove(0);
    victim.kill()?;
    println!("killed consumer 0: {}", victim.join().expect_err("it was killed"));
    for producer in producers {
        producer.join()?;
    }
    for consumer in consumers {
        consumer.join()?;
    }

    // The ledger.
    let mut delivered = BTreeMap::new();
    for (log, count, _) in &logs {
        for i in 0..count.load(SeqCst) {
            *delivered.entry(log.get(i as usize)?).or_insert(0) += 1;
        }
    }
    let mut acknowledged = 0;
    let mut missing = Vec::new();
    for producer in 0..PRODUCERS {
        let count = published.get(producer as usize)?;
        acknowledged += count;
        let all = (0..count).map(|i| producer * MESSAGES + i);
        missing.extend(all.filter(|message| !delivered.contains_key(message)));
    }
    // A producer may die after it has published a message and before it has noted that.
    let noted = |message: &u64| {
        let of = published.get((message / MESSAGES) as usize).unwrap_or(0);
        message % MESSAGES < of
    };
    let unnoted = delivered.keys().filter(|message| !noted(message)).count() as u64;
    let held = logs[0].2.load(SeqCst).checked_sub(1);
    let duplicated = delivered.values().filter(|&&times| times > 1).count();
    println!("published {}", acknowledged + unnoted);
    println!("delivered {}", delivered.len());
    let numbers = receiver.lost_numbers()?;
    println!(
        "lost in flight {}: message {missing:?}, number {numbers:?}",
        receiver.lost_in_flight()?
    );
    println!("duplicated {duplicated}");
    assert_eq!((missing.as_slice(), duplicated), (held.as_slice(), 0));
    assert_eq!(receiver.lost_in_flight()?, missing.len() as u64);
    assert_eq!(acknowledged + unnoted, (delivered.len() + missing.len()) as u64);
    Ok(())
}
