//! What the processes do.

/// Prints a word.
pub(crate) fn worker(word: String) {
    println!("{word}");
}
