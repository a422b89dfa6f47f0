//! Which positions above a watermark are finished, as text that fits a commit's metadata.
//!
//! Base64 without padding over one byte that names the form, then either run lengths (varints: so many not finished,
//! so many finished, and so on, from the watermark on) or a bitset (bit n: the watermark plus n is finished),
//! whichever is shorter. What the text does not reach is not finished, so it can be cut from the top.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use postrider_model::Position;

/// Positions from `start` up to but without `end`.
pub(crate) type Run = Range<Position>;

const RUNS: u8 = 1;
const BITS: u8 = 2;
/// The longest varint of 64 bits.
const VARINT_MAX: usize = 10;

/// The text for `runs`, which are in order, apart or touching, at or above `next`. Empty if there are none or none fits.
pub(crate) fn encode(
    next: Position,
    runs: impl Iterator<Item = Run>,
    metadata_bytes: Option<usize>,
) -> String {
    let runs: Vec<Run> = runs.collect();
    let Some(last) = runs.last() else {
        return String::new();
    };
    let room = metadata_bytes.map_or(usize::MAX, |limit| {
        limit / 4 * 3 + (limit % 4).saturating_sub(1)
    });
    let span_bytes = usize::try_from((last.end - next).div_ceil(8)).unwrap_or(usize::MAX);
    let (as_runs, whole) = encode_runs(next, &runs, room);
    // Cut maps are compared by how far they reach: the bitset by its room, the runs by what was written.
    let bitset_is_better = if whole {
        span_bytes + 1 < as_runs.len()
    } else {
        let reach = reach_of(next, &as_runs);
        let room_bits = (room.saturating_sub(1) as u64).saturating_mul(8);
        reach < room_bits.min(last.end - next)
    };
    let bytes = if bitset_is_better {
        encode_bits(next, &runs, room.min(span_bytes.saturating_add(1)))
    } else {
        as_runs
    };
    if bytes.len() <= 1 {
        return String::new();
    }
    STANDARD_NO_PAD.encode(bytes)
}

/// Run lengths in at most `room` bytes, and whether all found room.
fn encode_runs(next: Position, runs: &[Run], room: usize) -> (Vec<u8>, bool) {
    let mut bytes = vec![RUNS];
    let mut at = next;
    for run in runs {
        let mut pair = [0; 2 * VARINT_MAX];
        let mut len = put_varint(&mut pair, 0, run.start - at);
        len = put_varint(&mut pair, len, run.end - run.start);
        if bytes.len() + len > room {
            return (bytes, false);
        }
        bytes.extend_from_slice(&pair[..len]);
        at = run.end;
    }
    (bytes, true)
}

/// How far above `next` the runs in `bytes` reach.
fn reach_of(next: Position, bytes: &[u8]) -> u64 {
    decode_runs(next, bytes.get(1..).unwrap_or_default())
        .last()
        .map_or(0, |run| run.end - next)
}

/// A bitset in `room` bytes, its form's byte among them.
fn encode_bits(next: Position, runs: &[Run], room: usize) -> Vec<u8> {
    let mut bytes = vec![0; room];
    let Some((form, bits)) = bytes.split_first_mut() else {
        return bytes;
    };
    *form = BITS;
    for run in runs {
        let end = run.end.min(next + bits.len() as u64 * 8);
        for position in run.start..end {
            let n = (position - next) as usize;
            bits[n / 8] |= 1 << (n % 8);
        }
    }
    bytes
}

/// The runs that `metadata` names above `next`, in order; none if it is not such a text.
pub(crate) fn decode(next: Position, metadata: &str) -> Vec<Run> {
    let Ok(bytes) = STANDARD_NO_PAD.decode(metadata) else {
        return Vec::new();
    };
    match bytes.split_first() {
        Some((&RUNS, rest)) => decode_runs(next, rest),
        Some((&BITS, rest)) => decode_bits(next, rest),
        _ => Vec::new(),
    }
}

fn decode_runs(next: Position, mut bytes: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = next;
    while let Some((skip, rest)) = take_varint(bytes) {
        let Some((len, rest)) = take_varint(rest) else {
            break;
        };
        let Some(start) = at.checked_add(skip) else {
            break;
        };
        let Some(end) = start.checked_add(len) else {
            break;
        };
        runs.push(start..end);
        (at, bytes) = (end, rest);
    }
    runs
}

fn decode_bits(next: Position, bytes: &[u8]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let set = (0..bytes.len() * 8).filter(|n| bytes[n / 8] & (1 << (n % 8)) != 0);
    for n in set {
        // A text of ours ends long before positions do.
        let Some(position) = next.checked_add(n as u64).filter(|at| *at < Position::MAX) else {
            break;
        };
        match runs.last_mut() {
            Some(run) if run.end == position => run.end += 1,
            _ => runs.push(position..position + 1),
        }
    }
    runs
}

/// Writes `value` at `at` in LEB128; returns where it ends.
fn put_varint(into: &mut [u8; 2 * VARINT_MAX], mut at: usize, mut value: u64) -> usize {
    while value >= 0x80 {
        into[at] = (value as u8) | 0x80;
        value >>= 7;
        at += 1;
    }
    into[at] = value as u8;
    at + 1
}

fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (n, byte) in bytes.iter().enumerate().take(VARINT_MAX) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * n as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, &bytes[n + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_shorter_form_is_taken() {
        let sparse = encode(0, std::iter::once(1..1_000_000), None);
        assert!(sparse.len() < 10);
        let dense = encode(0, (0..4_000).map(|n| 2 * n + 1..2 * n + 2), None);
        assert!(dense.len() <= 1_340, "{}", dense.len());
    }

    #[test]
    fn a_map_is_cut_from_the_top() {
        let text = encode(0, (0..4_000).map(|n| 2 * n + 1..2 * n + 2), Some(100));
        assert!(text.len() <= 100);
        let runs = decode(0, &text);
        assert_eq!(runs[0], 1..2);
        assert!(runs.len() > 250 && runs.len() < 300, "{}", runs.len());
    }

    /// Runs in order that do not touch.
    fn runs(next: Position) -> impl Strategy<Value = Vec<Run>> {
        prop::collection::vec((1..40u64, 1..40u64), 0..200).prop_map(move |pairs| {
            let mut at = next;
            let place = |(skip, len)| {
                let start = at + skip;
                at = start + len;
                start..at
            };
            pairs.into_iter().map(place).collect()
        })
    }

    proptest! {
        #[test]
        fn a_map_reads_back_whole_where_nothing_limits_it(runs in runs(77)) {
            prop_assert_eq!(decode(77, &encode(77, runs.clone().into_iter(), None)), runs);
        }

        #[test]
        fn a_cut_map_fits_and_says_nothing_that_the_whole_does_not(runs in runs(77), limit in 0..200usize) {
            let text = encode(77, runs.clone().into_iter(), Some(limit));
            prop_assert!(text.len() <= limit);
            for cut in decode(77, &text) {
                prop_assert!(runs.iter().any(|run| run.start <= cut.start && cut.end <= run.end));
            }
        }

        #[test]
        fn no_text_makes_decoding_fail(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            decode(u64::MAX - 10, &STANDARD_NO_PAD.encode(bytes));
        }
    }
}
