//! Medians.

/// The median of some figures; reorders them.
///
/// # Panics
/// Panics if there are none.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    assert!(!figures.is_empty(), "the median of nothing");
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 {
        figures[middle]
    } else {
        (figures[middle - 1] + figures[middle]) / 2.0
    }
}

/// The median of the figures of an iterator.
pub(crate) fn median_of(figures: impl IntoIterator<Item = f64>) -> f64 {
    median(&mut figures.into_iter().collect::<Vec<_>>())
}
