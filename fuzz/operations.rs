//! Sequences of operations on a ring against a queue of the standard library.
#![no_main]

use commons::ChannelError;
use commons::spsc;
use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;

fuzz_target!(|script: &[u8]| {
    let Some((&size, script)) = script.split_first() else { return };
    let capacity = usize::from(size % 9) + 1;
    let (mut producer, mut consumer) = spsc::ring::<u64>(capacity).expect("room for a small ring");
    let mut model = VecDeque::new();
    let mut next = 0u64;
    for &step in script {
        let count = usize::from(step >> 4) % 10;
        match step % 8 {
            0 | 1 => match producer.try_push(next) {
                Ok(()) => {
                    model.push_back(next);
                    next += 1;
                }
                Err(rejected) => {
                    assert_eq!((rejected.value, rejected.reason), (next, ChannelError::Full));
                    assert_eq!(model.len(), capacity);
                }
            },
            2 | 3 => assert_eq!(consumer.try_pop().ok(), model.pop_front()),
            4 => {
                let values: Vec<u64> = (next..).take(count).collect();
                let pushed = producer.try_push_slice(&values).unwrap_or(0);
                assert_eq!(pushed, count.min(capacity - model.len()));
                model.extend(&values[..pushed]);
                next += pushed as u64;
            }
            5 => {
                let mut values = vec![0; count];
                let popped = consumer.try_pop_slice(&mut values).unwrap_or(0);
                let expected: Vec<u64> = model.drain(..count.min(model.len())).collect();
                assert_eq!(values[..popped], expected);
            }
            6 if count > 0 => {
                if let Ok(mut grant) = producer.try_reserve(count) {
                    let commit = grant.len() / 2;
                    for slot in &mut *grant {
                        *slot = next;
                        next += 1;
                    }
                    model.extend(&grant[..commit]);
                    grant.commit(commit);
                } else {
                    assert_eq!(model.len(), capacity);
                }
            }
            7 if count > 0 => {
                if let Ok(loan) = consumer.try_peek(count) {
                    let (lent, release) = (loan.to_vec(), loan.len() / 2);
                    loan.release(release);
                    assert!(model.iter().zip(&lent).all(|(a, b)| a == b));
                    model.drain(..release);
                } else {
                    assert!(model.is_empty());
                }
            }
            _ => {}
        }
        assert_eq!((producer.len(), consumer.is_empty()), (model.len(), model.is_empty()));
    }
    drop(producer);
    assert!(consumer.iter().eq(model));
});
