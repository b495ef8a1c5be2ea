//! Two children wait until a first stage is done; another does it and tells both.
//!
//! `cargo run --example condition`

use commons::{Condvar, Mutex, Process};
use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let (ready, changed) = (Mutex::new(false)?, Condvar::new()?);
    let mut children = Vec::new();
    for name in ["stage_2[1]", "stage_2[2]"] {
        let (ready, changed) = (ready.clone(), changed.clone());
        children.push(Process::spawn(move || {
            println!("Starting {name}");
            let ready = ready.lock().expect("nobody dies here");
            drop(changed.wait_while(ready, |ready| !*ready).expect("nobody dies here"));
            println!("{name} running");
        })?);
        sleep(Duration::from_secs(1));
    }
    children.push(Process::spawn(move || {
        println!("Starting s1");
        // Under the lock: so it is said before anybody goes on.
        let mut ready = ready.lock().expect("nobody dies here");
        *ready = true;
        println!("s1 done and ready for stage 2");
        drop(ready);
        changed.notify_all().expect("the condition variable is there");
    })?);
    for child in children {
        child.join()?;
    }
    Ok(())
}
