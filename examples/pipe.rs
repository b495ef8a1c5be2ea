//! Messages through a pipe: one child sends, another receives until it is told that this was all.
//! `cargo run --example pipe`

use commons::{Process, pipe};

const MESSAGES: [&str; 4] = ["hello", "hey", "hru?", "END"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut here, mut there) = pipe::<String>()?;
    let sender = Process::spawn(move || {
        for message in MESSAGES {
            println!("Sent the message: {message}");
            here.send(&message.to_owned()).expect("the other child receives until the end");
        }
    })?;
    let receiver = Process::spawn(move || {
        while let Ok(message) = there.recv() {
            if message == "END" {
                break;
            }
            println!("Received the message: {message}");
        }
    })?;
    sender.join()?;
    receiver.join()?;
    Ok(())
}
