//! Going through an array.

use super::Array;
use crate::segment::Element;
use bytemuck::AnyBitPattern;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Range;

/// The elements of an [`Array`], each read when its turn comes.
pub struct Iter<'a, T> {
    array: &'a Array<T>,
    left: Range<usize>,
}

impl<'a, T> Iter<'a, T> {
    pub(super) fn new(array: &'a Array<T>, left: Range<usize>) -> Self {
        Iter { array, left }
    }
}

impl<T: Element + AnyBitPattern> Iterator for Iter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.left.next().map(|i| self.array.read_any(i))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl<T: Element + AnyBitPattern> DoubleEndedIterator for Iter<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<T> {
        self.left.next_back().map(|i| self.array.read_any(i))
    }
}

impl<T: Element + AnyBitPattern> ExactSizeIterator for Iter<'_, T> {}
impl<T: Element + AnyBitPattern> FusedIterator for Iter<'_, T> {}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("left", &self.left).finish_non_exhaustive()
    }
}
