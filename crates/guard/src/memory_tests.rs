use std::sync::Arc;
use std::time::Duration;

use tokio::time::advance;

use crate::memory::{Addresses, Memory, Standing};
use crate::{Limits, LookupError};

fn resolved() -> Result<Addresses, LookupError> {
    Ok(vec!["1.1.1.1:0".parse().unwrap()].into())
}

fn failed() -> Result<Addresses, LookupError> {
    Err(LookupError::Temporary("no answer".to_owned()))
}

fn learn(
    memory: &mut Memory,
    limits: &Limits,
    host: &str,
    result: &Result<Addresses, LookupError>,
) {
    memory.entry(&Arc::from(host), limits).learn(result);
}

fn standing(memory: &Memory, limits: &Limits, host: &str) -> Standing {
    memory
        .get(host)
        .map_or(Standing::Unknown, |entry| entry.standing(limits))
}

#[tokio::test(start_paused = true)]
async fn names_that_fail_by_the_hundred_thousand_are_forgotten_and_those_that_resolve_are_not() {
    let (mut memory, limits) = (Memory::default(), Limits::default());
    for n in 0..1000 {
        learn(&mut memory, &limits, &format!("{n}.alive"), &resolved());
    }
    for n in 0..100_000 {
        learn(&mut memory, &limits, &format!("{n}.dead"), &failed());
        assert!(memory.len() <= limits.names);
    }
    for n in 0..1000 {
        let standing = standing(&memory, &limits, &format!("{n}.alive"));
        assert_eq!(standing, Standing::Resolving);
    }
}

#[tokio::test(start_paused = true)]
async fn names_that_resolve_are_bounded_too() {
    let (mut memory, limits) = (Memory::default(), Limits::default());
    for n in 0..100_000 {
        learn(&mut memory, &limits, &format!("{n}.alive"), &resolved());
        assert!(memory.len() <= limits.names);
    }
    assert_eq!(
        standing(&memory, &limits, "99999.alive"),
        Standing::Resolving
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_name_did_last_says_whose_turn_it_takes() {
    let (mut memory, limits) = (Memory::default(), Limits::default());
    assert_eq!(standing(&memory, &limits, "a"), Standing::Unknown);
    learn(&mut memory, &limits, "a", &resolved());
    assert_eq!(standing(&memory, &limits, "a"), Standing::Resolving);
    learn(&mut memory, &limits, "a", &failed());
    assert_eq!(standing(&memory, &limits, "a"), Standing::Failing);
    learn(&mut memory, &limits, "a", &resolved());
    assert_eq!(standing(&memory, &limits, "a"), Standing::Resolving);
    advance(limits.last + Duration::from_millis(1)).await;
    assert_eq!(standing(&memory, &limits, "a"), Standing::Unknown);
}
