//! How much is asked of a log that may have no room for all at once.

/// Half as much after each refusal, down to one, and twice as much after each success, up to a bound.
///
/// What waits is taken in this number, written in one completion, and put back in front if the log is
/// [full](crate::LogError::Full): what it takes is finished and trimmed, and makes room for more.
#[derive(Debug, Clone)]
pub struct Portion {
    next: usize,
    most: usize,
}

impl Portion {
    /// As much as there is.
    pub fn of_all() -> Self {
        Self::up_to(usize::MAX)
    }

    /// Begins with `most`, and never comes to more; one at least.
    pub fn up_to(most: usize) -> Self {
        let most = most.max(1);
        Self { next: most, most }
    }

    /// How many to ask for now, at most; at least one.
    pub fn next(&self) -> usize {
        self.next
    }

    /// The log had no room for so many.
    pub fn refused(&mut self, asked: usize) {
        self.next = (asked / 2).clamp(1, self.most);
    }

    /// The log took what it was asked for.
    pub fn taken(&mut self) {
        self.next = self.next.saturating_mul(2).min(self.most);
    }
}

impl Default for Portion {
    fn default() -> Self {
        Self::of_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a log that has room for `room` at once is asked for until it took all of `left`, and what of it it took.
    fn asked(portion: &mut Portion, mut left: usize, room: usize) -> Vec<(usize, bool)> {
        let mut asked = Vec::new();
        while left > 0 {
            let part = portion.next().min(left);
            let fits = part <= room;
            asked.push((part, fits));
            if fits {
                portion.taken();
                left -= part;
            } else {
                portion.refused(part);
            }
        }
        asked
    }

    #[test]
    fn all_is_asked_for_at_once_while_there_is_room() {
        let mut portion = Portion::of_all();
        assert_eq!(asked(&mut portion, 10, 10), [(10, true)]);
        assert_eq!(asked(&mut portion, 500, 500), [(500, true)]);
    }

    #[test]
    fn a_log_that_is_full_is_asked_for_half_as_much_of_what_there_was_and_then_for_twice_as_much() {
        let mut portion = Portion::of_all();
        let asked = asked(&mut portion, 20, 5);
        let first = [(20, false), (10, false), (5, true), (10, false), (5, true)];
        assert_eq!(asked[..5], first);
        assert_eq!(asked[5..], [(10, false), (5, true), (5, true)]);
    }

    #[test]
    fn no_less_than_one_and_no_more_than_the_bound_is_asked_for() {
        let mut portion = Portion::up_to(8);
        let mut next = Vec::new();
        for _ in 0..5 {
            next.push(portion.next());
            portion.refused(portion.next());
        }
        for _ in 0..5 {
            next.push(portion.next());
            portion.taken();
        }
        assert_eq!(next, [8, 4, 2, 1, 1, 1, 2, 4, 8, 8]);
        assert_eq!(Portion::up_to(0).next(), 1);
        portion.refused(0);
        assert_eq!(portion.next(), 1);
        // What was refused can be more than the bound: it was made up otherwise.
        portion.refused(100);
        assert_eq!(portion.next(), 8);
    }
}
