//! What makes a handover whole: one nonce in the states that were published for it and in the commit that ends it.
//!
//! The commit's metadata then is the nonce in 16 hexadecimal digits, a colon, and the map of what is finished. A commit
//! of an owner that goes on has no nonce, so after a kill no state counts as handed over.

use postrider_model::Partition;

/// What the nonce takes of a commit's metadata, in bytes.
const LEN: usize = 17;

/// One handover's own number; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nonce(u64);

/// In whose name a state is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// Grows with each change of owner.
    pub epoch: u64,
    /// The number of the partition that the endpoint's deliveries lie in.
    pub partition: Partition,
    /// That of the handover; 0 where the owner goes on.
    pub nonce: u64,
}

impl Nonce {
    /// One that no other handover has.
    pub(crate) fn new() -> Self {
        Self(rand::random::<u64>().max(1))
    }

    /// As a state carries it.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// What is left of a commit's metadata beside it.
    pub(crate) fn room_beside(metadata_bytes: Option<usize>) -> Option<usize> {
        metadata_bytes.map(|bytes| bytes.saturating_sub(LEN))
    }

    /// The metadata of the commit that ends the handover.
    pub(crate) fn before(self, map: &str) -> String {
        format!("{:016x}:{map}", self.0)
    }

    /// The nonce and the map of a commit's metadata.
    pub(crate) fn split(metadata: &str) -> (Option<Self>, &str) {
        let Some((nonce, map)) = metadata.split_once(':') else {
            return (None, metadata);
        };
        let number = u64::from_str_radix(nonce, 16).ok();
        (number.filter(|number| *number != 0).map(Self), map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_comes_back_with_its_map_and_takes_what_it_says() {
        let nonce = Nonce::new();
        for map in ["", "AQID"] {
            let text = nonce.before(map);
            assert_eq!(Nonce::split(&text), (Some(nonce), map));
            assert_eq!(text.len(), LEN + map.len());
        }
        assert_eq!(Nonce::room_beside(Some(4096)), Some(4096 - LEN));
    }

    #[test]
    fn metadata_without_a_nonce_is_a_map() {
        for map in ["", "AQID"] {
            assert_eq!(Nonce::split(map), (None, map));
        }
        assert_eq!(Nonce::split("0000000000000000:AQID"), (None, "AQID"));
        assert_eq!(Nonce::split("no number:AQID"), (None, "AQID"));
    }
}
