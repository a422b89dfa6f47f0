//! kill -9 at any moment: nothing accepted is lost, and only what was in flight comes again.

use std::time::Duration;

use postrider_testkit::{Behaviour, Load, LossChecker, Pace, Report, Seed, setting};

use crate::world::World;

/// The last pending event arrives within 5 s of the restart; five times that ends the test.
const LAST_ARRIVAL: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn whenever_a_server_under_load_is_killed_nothing_is_lost_and_only_what_was_in_flight_repeats()
 {
    let mut seed = Seed::printed();
    let kills = setting("POSTRIDER_TEST_KILLS", 20);
    let retries = ("DELIVERY__SCHEDULE", "0s,1s,1s,1s,1s,1s,1s,1s,1s,1s");
    let mut world = World::alone(&[retries]).await;
    world.endpoint("/quick", Behaviour::Ok).await;
    let slow = Behaviour::Delay(Duration::from_millis(30));
    world.endpoint("/slow", slow).await;
    world
        .endpoint("/failing-first", Behaviour::FailFirst(4, 500))
        .await;

    let load = world.load(Load {
        pace: Pace::Rate(150.0),
        connections: 8,
        ..Load::of(&world.app, "scenario.event")
    });
    let mut checker = LossChecker::default();
    for kill in 1..=kills {
        let life = Duration::from_millis(seed.between(20, 1500));
        tokio::time::sleep(life).await;
        world.kill_told_to(&mut checker).await;
        if kill < kills {
            world.start().await;
        }
    }
    let report = load.stop().await;
    world.start().await;
    expect_everywhere(
        &mut checker,
        &report,
        &["/quick", "/slow", "/failing-first"],
    );
    println!("{} accepted, {kills} kills", report.accepted.len());
    assert!(
        report.accepted.len() as u64 >= 10 * kills,
        "{}",
        report.last_failure
    );
    let verdict = world.hold(&checker, LAST_ARRIVAL).await;
    // Otherwise the bound would be judged of nothing.
    assert!(
        verdict.in_flight as u64 >= kills && !verdict.excused.is_empty(),
        "the kills found too little in flight: {verdict}"
    );
}

/// Every accepted event must come to each of `paths`.
pub(crate) fn expect_everywhere(checker: &mut LossChecker, report: &Report, paths: &[&str]) {
    for accepted in &report.accepted {
        checker.expect(&accepted.event, paths);
        checker.accepted(&accepted.event, accepted.at);
    }
}
