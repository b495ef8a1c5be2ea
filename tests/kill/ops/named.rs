//! Names that go with the case they were made for.

use commons::Segment;

/// A name in the directory that this run has for itself. Dropped in the harness alone: the other
/// processes end without destructors.
#[derive(Debug)]
pub(crate) struct Named(pub(crate) &'static str);

impl Drop for Named {
    fn drop(&mut self) {
        // Not there where the operation under test never made it.
        let _ = Segment::unlink(self.0);
    }
}

/// The files in that directory.
pub(crate) fn files() -> Vec<String> {
    let directory = std::env::var_os("COMMONS_SHM_DIR").unwrap_or_default();
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
