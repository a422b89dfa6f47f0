//! What the server itself has counted.

use crate::world::World;

/// The sum of a counter, or a gauge, over the labels that begin so: `name`, or `name{label="value"`.
pub(crate) async fn counted(world: &World, beginning: &str) -> u64 {
    let metrics = world.api.metrics().await.unwrap();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of whole things"
    )]
    let count = sum(&metrics, beginning) as u64;
    count
}

/// Likewise of the text of `/metrics`.
pub(crate) fn sum(metrics: &str, beginning: &str) -> f64 {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(beginning)?;
        let more = rest.starts_with(['{', '}', ',', ' ']);
        more.then(|| line.rsplit(' ').next())?
    });
    values.map(|value| value.parse::<f64>().unwrap()).sum()
}
