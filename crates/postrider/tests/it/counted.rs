//! What the server itself has counted.

use crate::world::World;

/// The sum of a counter, or a gauge, over the labels that begin so: `name`, or `name{label="value"`.
pub(crate) async fn counted(world: &World, beginning: &str) -> u64 {
    let metrics = world.api.metrics().await.unwrap();
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(beginning)?;
        let more = rest.starts_with(['{', '}', ',', ' ']);
        more.then(|| line.rsplit(' ').next())?
    });
    values.map(|value| value.parse::<u64>().unwrap()).sum()
}
