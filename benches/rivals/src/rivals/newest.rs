//! Rivals of the newest value: the blackboard of iceoryx2 and mmap-sync, read while another process
//! writes without a pause.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use mmap_sync::synchronizer::Synchronizer;

use super::iceoryx2::node;
use crate::guard;
use crate::peer::{self, Plan};
use crate::shared::{Line, Shared};
use crate::work::Result;

/// What is published.
type Page = [u64; 512];

/// Numbered pages, written until the main side has done its work.
fn writing(
    over: Arc<Shared<Line<AtomicU64>>>,
    mut write: impl FnMut(&Page) -> Result<()>,
) -> impl FnMut(u64) -> Result<u64> {
    let (mut turn, mut page) = (0, [0u64; 512]);
    move |n| {
        turn += 1;
        while over.0.load(Relaxed) < turn {
            page[0] += 1;
            page[511] = page[0];
            write(&page)?;
        }
        Ok(n)
    }
}

/// Reads of whole pages.
fn reading(
    over: Arc<Shared<Line<AtomicU64>>>,
    mut read: impl FnMut(&mut Page) -> Result<()>,
) -> impl FnMut(u64) -> Result<u64> {
    move |n| {
        let mut page = [0u64; 512];
        for _ in 0..n {
            read(black_box(&mut page))?;
            if page[0] != page[511] {
                return Err("a torn page".into());
            }
        }
        over.0.store(over.0.load(Relaxed) + 1, Release);
        Ok(n)
    }
}

/// The entry of a blackboard.
pub(crate) fn blackboard(plan: &Plan) -> Result<f64> {
    // SAFETY: an atomic of 0.
    let over: Arc<Shared<Line<AtomicU64>>> = unsafe { Shared::zeroed() }?;
    let theirs = over.clone();
    const NAME: &str = "newest";
    let write = move || {
        let node = node()?;
        let service = node
            .service_builder(&NAME.try_into()?)
            .blackboard_creator::<u64>()
            .add::<Page>(0, [0; 512])
            .create()?;
        let writer = service.writer_builder().create()?;
        let entry = writer.entry::<Page>(&0)?;
        Ok(writing(theirs, move |page| {
            let _kept = (&node, &service, &writer);
            entry.update_with_copy(*page);
            Ok(())
        }))
    };
    let read = move || {
        let node = node()?;
        let service = loop {
            let opener = node.service_builder(&NAME.try_into()?).blackboard_opener::<u64>();
            // The writer makes it.
            if let Ok(service) = opener.open() {
                break service;
            }
        };
        let reader = service.reader_builder().create()?;
        let entry = reader.entry::<Page>(&0)?;
        Ok(reading(over, move |page| {
            let _kept = (&node, &service, &reader);
            *page = *entry.get();
            Ok(())
        }))
    };
    peer::forked(plan, write, read)
}

/// Two files and a word that says which.
pub(crate) fn mmap_sync(plan: &Plan) -> Result<f64> {
    // SAFETY: an atomic of 0.
    let over: Arc<Shared<Line<AtomicU64>>> = unsafe { Shared::zeroed() }?;
    let theirs = over.clone();
    let path = format!("/dev/shm/{}", guard::name("mmap-sync"));
    let their_path = path.clone();
    let write = move || {
        let mut synchronizer = Synchronizer::new(their_path.as_ref());
        Ok(writing(theirs, move |page| {
            let written = synchronizer.write(page, Duration::from_secs(1));
            written.map(drop).map_err(|error| error.to_string().into())
        }))
    };
    let read = move || {
        let mut synchronizer = Synchronizer::new(path.as_ref());
        Ok(reading(over, move |page| {
            loop {
                // SAFETY: the writer is of this program.
                match unsafe { synchronizer.read::<Page>(false) } {
                    Ok(read) => {
                        *page = *read;
                        return Ok(());
                    }
                    // Nothing was written yet.
                    Err(_) => continue,
                }
            }
        }))
    };
    peer::forked(plan, write, read)
}
