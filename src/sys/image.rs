//! The program that this process runs: where its functions are, and whether another process runs the
//! same one.

#![allow(unsafe_code, reason = "reads the headers of the program")]

use std::ffi::{c_int, c_void};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

/// What two processes that run the same program agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Identity {
    /// What the linker wrote into it, if it did: another one for each other program.
    build: Vec<u8>,
    /// The file: device, inode, bytes, and when it was last changed.
    file: [u64; 5],
}

impl Identity {
    pub(crate) fn is_same(&self, other: &Identity) -> bool {
        self.file == other.file || !self.build.is_empty() && self.build == other.build
    }
}

/// The program as it is loaded.
#[derive(Debug)]
pub(crate) struct Image {
    /// What is added to addresses in the file.
    bias: u64,
    /// Where its functions are.
    code: Vec<Range<u64>>,
    build: Vec<u8>,
}

impl Image {
    /// The one of this process.
    pub(crate) fn own() -> Image {
        let mut image = Image { bias: 0, code: Vec::new(), build: Vec::new() };
        // SAFETY: the function gets the pointer that is given here, while this call lasts.
        unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut image).cast()) };
        image
    }

    /// Where a function is, in a way that means the same in another process that runs this program;
    /// `None`: it is not part of the program but of a library.
    pub(crate) fn offset(&self, address: u64) -> Option<u64> {
        let is_code = self.code.iter().any(|range| range.contains(&address));
        is_code.then(|| address - self.bias)
    }

    /// What [`Image::offset`] said the place of.
    pub(crate) fn address(&self, offset: u64) -> Option<u64> {
        let address = offset.checked_add(self.bias)?;
        self.offset(address).map(|_| address)
    }

    /// What tells this program from others.
    pub(crate) fn identity(&self) -> io::Result<Identity> {
        let file = std::fs::metadata("/proc/self/exe")?;
        let changed = (file.ctime().cast_unsigned() << 30) ^ file.ctime_nsec().cast_unsigned();
        let file = [file.dev(), file.ino(), file.size(), file.mtime().cast_unsigned(), changed];
        Ok(Identity { build: self.build.clone(), file })
    }
}

/// Reads what the first of all loaded objects has, which is the program, and asks for no more.
extern "C" fn first(info: *mut libc::dl_phdr_info, _: usize, image: *mut c_void) -> c_int {
    // SAFETY: what `Image::own` gave.
    let image = unsafe { &mut *image.cast::<Image>() };
    // SAFETY: libc gives an object's description, for as long as this function runs.
    let info = unsafe { &*info };
    image.bias = info.dlpi_addr;
    // SAFETY: as many headers as it says.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    for header in headers {
        let begin = info.dlpi_addr + header.p_vaddr;
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
            image.code.push(begin..begin + header.p_memsz);
        }
        if header.p_type == libc::PT_NOTE && image.build.is_empty() {
            // SAFETY: notes are in the part of the program that is loaded, and never written.
            let notes =
                unsafe { core::slice::from_raw_parts(begin as *const u8, header.p_memsz as usize) };
            image.build = build(notes).to_owned();
        }
    }
    1
}

/// What the linker calls the program, among its notes.
fn build(mut notes: &[u8]) -> &[u8] {
    const BUILD: u32 = 3;
    let number = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap_or_default());
    while let Some((head, rest)) = notes.split_at_checked(12) {
        let (name, text) = (number(&head[..4]) as usize, number(&head[4..8]) as usize);
        let texts = name.next_multiple_of(4);
        let Some(found) = rest.get(texts..).and_then(|rest| rest.get(..text)) else { break };
        if number(&head[8..]) == BUILD && rest.get(..name) == Some(b"GNU\0") {
            return found;
        }
        notes = rest.get(texts + text.next_multiple_of(4)..).unwrap_or(&[]);
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::{Image, build};

    #[test]
    fn functions_are_found_again_and_nothing_else_is() {
        let image = Image::own();
        let function = functions_are_found_again_and_nothing_else_is as fn() as usize as u64;
        let offset = image.offset(function).expect("a function of this program");
        assert_eq!(image.address(offset), Some(function));
        let in_a_library = libc::getpid as *const () as usize as u64;
        let data = (&raw const image) as u64;
        assert!(cfg!(target_feature = "crt-static") || image.offset(in_a_library).is_none());
        assert_eq!(image.offset(data), None);
        for far in [0, u64::MAX, u64::MAX - image.bias] {
            assert_eq!(image.address(far), None);
        }
        let own = image.identity().unwrap();
        assert!(own.is_same(&Image::own().identity().unwrap()));
    }

    #[test]
    fn a_build_is_found_among_notes_and_damaged_ones_are_read_to_no_harm() {
        let mut notes = Vec::new();
        for (kind, name, text) in
            [(1u32, "GNU\0", &b"12345"[..]), (3, "Go\0", b"no"), (3, "GNU\0", b"abc")]
        {
            let lengths = [name.len() as u32, text.len() as u32, kind];
            notes.extend(lengths.iter().flat_map(|n| n.to_ne_bytes()));
            for part in [name.as_bytes(), text] {
                notes.extend(part);
                notes.resize(notes.len().next_multiple_of(4), 0);
            }
        }
        assert_eq!(build(&notes), b"abc");
        for length in 0..notes.len() - 4 {
            assert_eq!(build(&notes[..length]), b"");
        }
        assert_eq!(build(&[0xff; 64]), b"");
    }
}
