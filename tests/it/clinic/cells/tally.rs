//! What cells were answered, and which of them otherwise than they should be.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::answer;
use super::expected::Answer;

#[derive(Default)]
pub(super) struct Tally {
    wrong: Vec<String>,
    seen: BTreeMap<Answer, usize>,
}

impl Tally {
    /// One cell's status, beside what it should be.
    pub(super) fn count(&mut self, status: u16, wanted: Answer, what: impl Debug) {
        let given = answer(status);
        *self.seen.entry(given).or_default() += 1;
        if given != wanted {
            self.wrong
                .push(format!("{status} instead of {wanted:?}: {what:?}"));
        }
    }

    /// Those that differ. More than `of_each` must have been answered in each way: a service that
    /// always says the same has not been asked much.
    pub(super) fn wrong(self, of_each: usize) -> Vec<String> {
        for given in [Answer::Allowed, Answer::Forbidden, Answer::NotThere] {
            assert!(
                self.seen.get(&given).is_some_and(|count| *count > of_each),
                "{given:?}: {:?}",
                self.seen
            );
        }
        self.wrong
    }
}
