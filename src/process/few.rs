//! A list whose first entries lie in it, for lists that are short and written in the course of a fork.

/// How many lie in it.
const INSIDE: usize = 6;

#[derive(Debug)]
pub(super) struct Few<T> {
    inside: [Option<T>; INSIDE],
    others: Vec<T>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few { inside: [const { None }; INSIDE], others: Vec::new() }
    }
}

impl<T> Few<T> {
    pub(super) fn push(&mut self, value: T) {
        match self.inside.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(value),
            None => self.others.push(value),
        }
    }

    /// Any of them.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.inside.iter_mut().find_map(Option::take).or_else(|| self.others.pop())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.inside.iter().flatten().chain(&self.others)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for place in &mut self.inside {
            place.take_if(|value| !keep(value));
        }
        self.others.retain(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::Few;

    #[test]
    fn what_was_put_in_is_there_until_it_is_taken() {
        let mut few = Few::default();
        (0..20).for_each(|number| few.push(number));
        few.retain(|number| number % 3 != 0);
        let mut all: Vec<_> = few.iter().copied().collect();
        all.sort_unstable();
        let expected: Vec<_> = (0..20).filter(|number| number % 3 != 0).collect();
        assert_eq!(all, expected);
        few.push(0);
        let mut taken: Vec<_> = std::iter::from_fn(|| few.pop()).collect();
        taken.sort_unstable();
        assert_eq!(taken, [vec![0], expected].concat());
        assert_eq!(few.iter().count(), 0);
    }
}
