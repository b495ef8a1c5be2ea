//! A queue of objects of several kinds: put, get, size, close.
//!
//! `cargo run --example queue_tour`

use commons::{ChannelError, ObjectQueue};
use serde::{Deserialize, Serialize};
use std::error::Error;

#[derive(Debug, Serialize, Deserialize)]
enum Object {
    Number(i64),
    Text(String),
    List(Vec<i64>),
}

fn main() -> Result<(), Box<dyn Error>> {
    let queue = ObjectQueue::<Object>::new(4096)?;
    queue.send(&Object::Number(42))?;
    queue.send(&Object::Text("hello".to_owned()))?;
    queue.send(&Object::List(vec![1, 2, 3]))?;
    println!("size: {}", queue.len());
    println!("first: {:?}", queue.recv()?);
    println!("size: {}", queue.len());

    // Closing is for one handle; others go on, and what was put stays for them.
    let other = queue.clone();
    queue.close();
    match queue.send(&Object::Number(1)) {
        Err(error @ ChannelError::Closed) => println!("put after close: {error}"),
        other => return Err(format!("a closed queue took it: {other:?}").into()),
    }
    println!("second: {:?}", other.recv()?);
    println!("third: {:?}", other.recv()?);
    Ok(())
}
