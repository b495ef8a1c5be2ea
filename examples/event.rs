//! One child waits for an event without limit, another for a while only; the parent sets it later.
//!
//! `cargo run --example event [SECONDS]`, after which the event is set; 3 if not said.

use commons::{Event, Process, Reset};
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let seconds: f64 = std::env::args().nth(1).map_or(Ok(3.0), |text| text.parse())?;
    let until_set = Duration::try_from_secs_f64(seconds)?;
    let event = Event::new(Reset::Manual)?;

    let patient = event.clone();
    let patient = Process::spawn(move || {
        println!("wait_for_event: starting");
        patient.wait().expect("the event is there");
        println!("wait_for_event: is set: {}", patient.is_set());
    })?;
    let hasty = event.clone();
    let hasty = Process::spawn(move || {
        println!("wait_for_event_timeout: starting");
        let set = hasty.wait_timeout(until_set * 2 / 3).expect("the event is there");
        println!("wait_for_event_timeout: is set: {set}");
    })?;

    println!("main: waiting before it sets the event");
    std::thread::sleep(until_set);
    event.set()?;
    println!("main: the event is set");
    patient.join()?;
    hasty.join()?;
    Ok(())
}
