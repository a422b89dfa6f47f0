//! Whether PostgreSQL takes as many connections as are opened to it.

use postrider_store_sql::InspectedConnections;

use super::Finding;

const PART: &str = "store's server";
const ADVICE: &str = "raise max_connections there, or lower store.max_connections or the number of processes: a process that \
    gets none goes on as if the store were away";

/// Of a process that opens `own` at most; and of all processes together, where somebody says how many these open.
pub(super) fn judge(found: &InspectedConnections, own: u32, all: Option<u32>) -> Finding {
    let InspectedConnections { limit, open, ours } = *found;
    let others = open.saturating_sub(ours);
    let seen = format!("it takes {limit} connections, and has {open}, {ours} of them ours");
    if let Some(all) = all {
        let seen = format!("{seen}; all processes together open up to {all}");
        return match all.saturating_add(others) {
            _ if all > limit => Finding::wrong(PART, seen, ADVICE),
            with_others if with_others > limit => Finding::warning(PART, seen, ADVICE),
            _ => Finding::ok(PART, seen),
        };
    }
    let room = limit.saturating_sub(open) / own;
    let seen =
        format!("{seen}; one process like this opens up to {own}: there is room for {room} more");
    if own > limit {
        Finding::wrong(PART, seen, ADVICE)
    } else if room == 0 {
        Finding::warning(PART, seen, ADVICE)
    } else {
        Finding::ok(PART, seen)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const FOUND: InspectedConnections = InspectedConnections {
        limit: 97,
        open: 30,
        ours: 20,
    };

    #[test]
    fn one_process_is_held_against_what_is_left_and_against_what_there_can_be_at_all() {
        let told = judge(&FOUND, 16, None);
        assert_eq!(told.verdict, Verdict::Ok);
        assert_eq!(
            told.seen,
            "it takes 97 connections, and has 30, 20 of them ours; one process like this opens up to 16: there is room \
             for 4 more"
        );
        assert_eq!(judge(&FOUND, 67, None).verdict, Verdict::Ok);
        assert_eq!(judge(&FOUND, 68, None).verdict, Verdict::Warning);
        assert_eq!(judge(&FOUND, 98, None).verdict, Verdict::Wrong);
    }

    #[test]
    fn all_processes_are_held_against_what_others_leave_whether_or_not_they_run_already() {
        assert_eq!(judge(&FOUND, 16, Some(87)).verdict, Verdict::Ok);
        assert_eq!(judge(&FOUND, 16, Some(88)).verdict, Verdict::Warning);
        let told = judge(&FOUND, 16, Some(186));
        assert_eq!(told.verdict, Verdict::Wrong);
        assert!(told.seen.contains("open up to 186"), "{}", told.seen);
        assert!(told.advice.unwrap().contains("max_connections"));
    }
}
