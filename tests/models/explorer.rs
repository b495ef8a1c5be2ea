//! Explores all states that a model can reach.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;

/// A model: states, what can happen in each, and what must never be.
pub(crate) trait Model {
    type State: Clone + Eq + Hash + Debug;
    /// What happens between two states, for whoever reads the path.
    type Step: Copy + Debug;

    fn start(&self) -> Self::State;

    /// Everything that can happen next. A step that only an impatient participant takes, so that it
    /// is no way out of a deadlock, says `false`.
    fn next(&self, state: &Self::State, each: &mut dyn FnMut(Self::Step, bool, Self::State));

    /// What is wrong with a state, whatever comes next.
    fn violation(&self, state: &Self::State) -> Option<String>;

    /// What is wrong with a state in which nothing can happen by itself any more.
    fn stuck(&self, state: &Self::State) -> Option<String>;
}

/// What an exploration found.
#[derive(Debug)]
pub(crate) struct Outcome<Step> {
    pub(crate) states: usize,
    /// A state that must not be, and the shortest way to it.
    pub(crate) failure: Option<(String, Vec<Step>)>,
}

/// Breadth first, so that the first failure is one of the shortest.
pub(crate) fn explore<M: Model>(model: &M) -> Outcome<M::Step> {
    let start = model.start();
    let mut order = vec![start.clone()];
    let mut reached: Vec<Option<(usize, M::Step)>> = vec![None];
    let mut seen = HashMap::from([(start, 0usize)]);
    let mut queue = VecDeque::from([0usize]);
    while let Some(index) = queue.pop_front() {
        let state = order[index].clone();
        let mut moves = false;
        let mut new = Vec::new();
        model.next(&state, &mut |step, by_itself, next| {
            moves |= by_itself;
            new.push((step, next));
        });
        let stuck = if moves { None } else { model.stuck(&state) };
        if let Some(problem) = model.violation(&state).or(stuck) {
            let mut path = Vec::new();
            let mut at = index;
            while let Some((before, step)) = reached[at] {
                path.push(step);
                at = before;
            }
            path.reverse();
            return Outcome { states: order.len(), failure: Some((problem, path)) };
        }
        for (step, next) in new {
            if !seen.contains_key(&next) {
                seen.insert(next.clone(), order.len());
                queue.push_back(order.len());
                order.push(next);
                reached.push(Some((index, step)));
            }
        }
    }
    Outcome { states: order.len(), failure: None }
}
