//! What is written instead of a record that the log refuses for its size, so that it is neither lost nor tried for ever.

use postrider_model::topics::{ATTEMPTS, DEAD_LETTERS, EVENTS, EVENTS_REJECTED, EVENTS_WAITING};
use postrider_model::{Attempt, DeadLetter, DeathReason, Delivery, NewRecord, Timestamp};

use crate::rejected::{REASON, fit};

/// Replaces those of `outputs` that are larger than `limit`, or the largest if the log counts otherwise than we do:
/// deliveries by dead letters of them, with the payload if that fits; dead letters by themselves without the payload;
/// attempts by themselves without the answer; events by rejected ones that fit. What is within the limit stays where something
/// is above it. Returns how many; 0 if there is none that could be made smaller: then the log's refusal is an error.
pub fn shrink<'a>(
    outputs: impl IntoIterator<Item = &'a mut NewRecord>,
    limit: usize,
    now: Timestamp,
) -> usize {
    let mut by_size: Vec<&mut NewRecord> = outputs.into_iter().collect();
    by_size.sort_by_key(|record| std::cmp::Reverse(record.size()));
    let known = by_size
        .first()
        .is_some_and(|largest| largest.size() > limit);
    let mut replaced = 0;
    for record in by_size {
        if record.size() <= limit && (known || replaced > 0) {
            break;
        }
        if let Some(smaller) = smaller(record, limit, now) {
            tracing::error!(
                topic = %record.topic, bytes = record.size(), limit, instead = %smaller.topic,
                "a record is larger than the log takes"
            );
            *record = smaller;
            replaced += 1;
        }
    }
    replaced
}

fn smaller(record: &NewRecord, limit: usize, now: Timestamp) -> Option<NewRecord> {
    if record.topic == DEAD_LETTERS {
        let letter = DeadLetter::decode(&record.value).ok()?;
        return (!letter.payload_left_out).then(|| letter.without_payload().to_record());
    }
    if record.topic == ATTEMPTS {
        let attempt = Attempt::decode(&record.value).ok()?;
        return (!attempt.response_body.is_empty()).then(|| attempt.without_answer().to_record());
    }
    if [EVENTS, EVENTS_WAITING, EVENTS_REJECTED].contains(&record.topic) {
        let smaller = set_aside(record, limit.min(record.size().saturating_sub(1)));
        return (smaller.size() < record.size()).then_some(smaller);
    }
    let delivery = Delivery::decode(&record.value).ok()?;
    let letter = DeadLetter::of(delivery, DeathReason::TooLarge, now);
    let whole = letter.to_record();
    Some(if whole.size() <= limit {
        whole
    } else {
        letter.without_payload().to_record()
    })
}

/// In `most` bytes, if there is anything in it that can be cut.
fn set_aside(record: &NewRecord, most: usize) -> NewRecord {
    let mut kept = NewRecord {
        topic: EVENTS_REJECTED,
        ..record.clone()
    };
    let why = format!(
        "a record of {} bytes is more than the log takes",
        record.size()
    );
    kept.headers.push(REASON, why);
    fit(&mut kept, most);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_model::topics::{FANOUTS, RETRY};
    use postrider_model::{AppId, CUT, Class, EndpointId, Event, EventId, EventOrigin};

    fn delivery(payload: usize) -> Delivery {
        let event = Event {
            id: EventId::new(),
            app_id: AppId::new(),
            event_type: "order.paid".parse().unwrap(),
            channels: Vec::new(),
            uid: None,
            content_type: "application/json".to_owned(),
            payload: vec![b'x'; payload].into(),
            accepted_at: Timestamp::default(),
            trace: None,
            origin: EventOrigin::Accepted,
        };
        let (to, now) = (EndpointId::new(), Timestamp::default());
        Delivery::of_event(&event, (0, 1), to, 1, Class::Normal, now)
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_delivery_that_is_too_large_becomes_a_dead_letter_and_what_fits_stays() {
        let (small, large) = (delivery(10), delivery(10_000));
        let tier = RETRY[0].topic;
        let mut outputs = vec![small.to_record(), large.to_record_in(tier)];
        assert_eq!(shrink(&mut outputs, 1000, at(7)), 1);
        assert_eq!(outputs[0], small.to_record());
        assert_eq!(outputs[1].topic, DEAD_LETTERS);
        let letter = DeadLetter::decode(&outputs[1].value).unwrap();
        assert_eq!(letter.reason, DeathReason::TooLarge);
        assert_eq!(letter.id, large.dead_letter_id());
        assert_eq!(letter.delivery.event_id, large.event_id);
        assert!(letter.payload_left_out && letter.delivery.payload.is_empty());
        assert_eq!(letter.died_at, at(7));
        assert!(outputs[1].size() <= 1000);
    }

    #[test]
    fn the_payload_is_kept_where_the_dead_letter_fits() {
        let delivery = delivery(100);
        let mut outputs = [delivery.to_record()];
        // Refused by a log that counts more than key, headers and value.
        assert_eq!(shrink(&mut outputs, 10_000, at(7)), 1);
        let letter = DeadLetter::decode(&outputs[0].value).unwrap();
        assert!(!letter.payload_left_out);
        assert_eq!(letter.delivery, delivery);
    }

    #[test]
    fn each_refusal_makes_it_smaller_until_nothing_can_be_and_then_says_so() {
        let mut outputs = [delivery(100).to_record()];
        let mut sizes = Vec::new();
        while shrink(&mut outputs, 10_000, at(7)) > 0 {
            sizes.push(outputs[0].size());
        }
        assert_eq!(sizes.len(), 2);
        assert!(sizes[1] < sizes[0]);
        let mut others = [NewRecord::new(FANOUTS, "key", "value")];
        assert_eq!(shrink(&mut others, 1, at(7)), 0);
    }

    #[test]
    fn a_dead_letter_keeps_why_it_died() {
        let letter = DeadLetter::of(delivery(10_000), DeathReason::Exhausted, at(1));
        let mut outputs = [letter.to_record()];
        assert_eq!(shrink(&mut outputs, 1000, at(7)), 1);
        let kept = DeadLetter::decode(&outputs[0].value).unwrap();
        assert_eq!((kept.id, kept.reason), (letter.id, DeathReason::Exhausted));
        assert!(kept.payload_left_out);
    }

    #[test]
    fn an_event_is_rejected_with_the_reason_and_without_its_value() {
        let value = vec![0; 5000];
        let mut outputs = [NewRecord::new(EVENTS, "app", value)];
        assert_eq!(shrink(&mut outputs, 1000, at(7)), 1);
        assert_eq!(outputs[0].topic, EVENTS_REJECTED);
        assert!(outputs[0].headers.get(REASON).is_some() && outputs[0].value.is_empty());
    }

    #[test]
    fn what_fits_stays_beside_what_does_not_and_cannot_be_made_smaller() {
        let delivery = delivery(100);
        let mut outputs = [
            delivery.to_record(),
            NewRecord::new(FANOUTS, "key", vec![0; 5000]),
        ];
        assert_eq!(shrink(&mut outputs, 1000, at(7)), 0);
        assert_eq!(outputs[0], delivery.to_record());
    }

    #[test]
    fn an_event_with_a_large_key_or_large_headers_is_set_aside_with_the_beginning_of_them() {
        let of_key = NewRecord::new(EVENTS_WAITING, vec![b'k'; 9_000], "value");
        let mut of_headers = NewRecord::new(EVENTS_REJECTED, "app", "value");
        of_headers.headers.push("n", vec![b'h'; 9_000]);
        let delivery = delivery(100);
        let mut outputs = [delivery.to_record(), of_key, of_headers];
        assert_eq!(shrink(&mut outputs, 5_000, at(7)), 2);
        assert_eq!(outputs[0], delivery.to_record());
        for kept in &outputs[1..] {
            assert_eq!(kept.topic, EVENTS_REJECTED);
            assert!(kept.size() <= 5_000);
            assert!(kept.headers.get(CUT).is_some());
            assert_eq!(kept.value, "value");
        }
    }
}
