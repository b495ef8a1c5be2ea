//! Consumers take tasks from a queue until each has got its poison pill, and put answers on another;
//! the parent waits until every task is finished.
//!
//! `cargo run --example task_queue [CONSUMERS [JOBS]]`; 4 and 10 if not said.

use commons::{JoinableQueue, ObjectQueue, Process};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[derive(Serialize, Deserialize)]
struct Product(u64, u64);

impl Product {
    fn compute(&self) -> String {
        sleep(Duration::from_millis(100)); // the work
        format!("{self} = {}", self.0 * self.1)
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} * {}", self.0, self.1)
    }
}

fn consume(name: &str, tasks: &JoinableQueue<Option<Product>>, results: &ObjectQueue<String>) {
    loop {
        let task = tasks.recv().expect("a task, or the pill");
        let Some(product) = &*task else {
            println!("{name}: Exiting");
            task.done();
            return;
        };
        println!("{name}: {product}");
        results.send(&product.compute()).expect("the parent receives");
        task.done();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let consumers: usize = arguments.next().map_or(Ok(4), |text| text.parse())?;
    let jobs: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;

    let tasks = JoinableQueue::new(1 << 16)?;
    let results = ObjectQueue::new(1 << 16)?;
    println!("Creating {consumers} consumers");
    let mut children = Vec::new();
    for i in 1..=consumers {
        let (tasks, results) = (tasks.clone(), results.clone());
        children.push(Process::spawn(move || {
            consume(&format!("Consumer-{i}"), &tasks, &results);
        })?);
    }
    let begun = Instant::now();
    for i in 0..jobs {
        tasks.send(&Some(Product(i, i)))?;
    }
    for _ in 0..consumers {
        tasks.send(&None)?;
    }
    // If a consumer is killed, this says so and does not hang.
    tasks.join()?;
    let took = begun.elapsed();
    for _ in 0..jobs {
        println!("Result: {}", results.recv()?);
    }
    for child in children {
        child.join()?;
    }
    println!("{jobs} tasks of 0.1 s took {:.1} s", took.as_secs_f64());
    Ok(())
}
