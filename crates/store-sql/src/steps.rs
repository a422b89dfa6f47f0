//! The steps of a schema, and what a program does about steps that came after it.
//!
//! A step that was released is never edited: a change is another step, in a file of its own. Processes of the release
//! before run while it is applied, and may be started again beside it, so each step says by its name what it is.
//! `expand_…` only adds what they need not know: tables, indexes, columns that may be empty or have a default. On
//! PostgreSQL it looks through no rows under a lock that others wait for, and waits for no lock for longer than two
//! seconds. `contract_…` takes away, renames or gives another meaning, and comes a release after the last one that used
//! what it takes away. A program opens a schema of which it does not know the newest steps, if all of these expand it.

/// What the name of a step begins with that older programs need not know.
const EXPANDS: &str = "expand";

/// A step: its number, its name and its statements.
pub(crate) type Step = (i64, &'static str, &'static str);

/// The steps of a schema that this program does not know, by number and name as the database remembers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Newer(pub(crate) Vec<(i64, String)>);

impl Newer {
    /// The newest step that keeps this program from using the schema.
    pub(crate) fn forbids(&self) -> Option<i64> {
        let steps = self.0.iter().filter(|(_, name)| !expands(name));
        steps.map(|(number, _)| *number).max()
    }
}

/// By its name, which the database keeps with blanks or without.
fn expands(name: &str) -> bool {
    name.split([' ', '_']).next() == Some(EXPANDS)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The first steps had no older programs beside them.
    pub(crate) fn are_named_by_what_they_do(steps: &[Step], first: i64) {
        for (number, name, _) in steps.iter().filter(|(number, ..)| *number > first) {
            let what = name.split('_').next();
            let known = matches!(what, Some("expand" | "contract"));
            assert!(
                known,
                "step {number} is to be named expand_… or contract_…, not {name}"
            );
        }
    }

    #[test]
    fn only_steps_that_expand_are_none_of_an_older_programs_business() {
        let newer = |names: &[&str]| {
            let numbered = (7..).zip(names.iter().map(|name| (*name).to_owned()));
            Newer(numbered.collect()).forbids()
        };
        assert_eq!(newer(&[]), None);
        assert_eq!(newer(&["expand_notes", "expand more notes"]), None);
        assert_eq!(
            newer(&["expand_notes", "contract_notes", "expand_x"]),
            Some(8)
        );
        assert_eq!(newer(&["first"]), Some(7));
        assert_eq!(newer(&["expanded"]), Some(7));
    }
}
