//! What is in flight while partitions go.

use postrider_model::{Class, Endpoint, EndpointPolicy, TopicPartition, topics};

use crate::members::{attempts_at, endpoint_in, world};
use crate::world::{Does, S};

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_topic_alone_is_lost_leaves_its_place_in_the_lane_when_it_ends() {
    let mut world = world();
    world.options.timeout = 5 * S;
    let id = endpoint_in(&mut world, 0, 0, Does::Hang);
    let policy = EndpointPolicy {
        max_in_flight: Some(1),
        ..EndpointPolicy::default()
    };
    let known = Endpoint::clone(&world.endpoints.known.lock().unwrap()[&id]);
    world.put(Endpoint {
        policy: policy.shared(),
        ..known
    });
    world.start();
    world.publish(&[id]).await;
    let is_out = |count| move |world: &crate::world::World| world.sender.sent() == count;
    world.until(5 * S, "in flight", is_out(1)).await;
    // The others of its number, in which the endpoint's deliveries lie as well, stay ours.
    let lost = TopicPartition {
        topic: topics::DELIVERIES_NORMAL,
        partition: 0,
    };
    world.log.lose(topics::WORKER, &[lost]);
    world.sender.set(id, Does::Answer(200));
    let mut urgent = world.delivery(id);
    urgent.class = Class::High;
    world.write(&[urgent]).await;
    world
        .until(10 * S, "the next one goes", |world| {
            attempts_at(world, id) == 1
        })
        .await;
    assert_eq!(world.sender.sent(), 2, "made again though lost");
    world
        .until(5 * S, "nothing is held", |world| {
            world.metrics.held.get() == 0
        })
        .await;
}
