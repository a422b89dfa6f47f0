//! The events: orders of a shop, about a kibibyte each.

use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

const GOODS: [(&str, u32); 6] = [
    ("Espresso machine, brushed steel", 48_900),
    ("Burr grinder, 40 mm conical", 12_950),
    ("Filter papers, size 4, pack of 100", 590),
    ("Single origin, washed, 1 kg", 2_890),
    ("Gooseneck kettle, 0.9 l", 7_450),
    ("Scale with timer, 0.1 g", 5_490),
];
const TOWNS: [&str; 5] = ["Utrecht", "Graz", "Porto", "Tampere", "Gdańsk"];

/// The request that publishes order `number`.
pub(super) fn order(number: usize) -> String {
    let mut rng = rand::rng();
    let lines: Vec<Value> = (1..=4)
        .map(|line| {
            let (name, cents) = GOODS.choose(&mut rng).copied().unwrap_or(GOODS[0]);
            let quantity = rng.random_range(1..=3u32);
            json!({
                "line": line, "sku": format!("SKU-{:06}", rng.random_range(0..1_000_000)), "name": name,
                "quantity": quantity, "unitPrice": {"amount": cents, "currency": "EUR"},
                "total": {"amount": cents * quantity, "currency": "EUR"},
            })
        })
        .collect();
    let payload = json!({
        "type": "order.created",
        "timestamp": jiff::Timestamp::now().to_string(),
        "data": {
            "order": number,
            "customer": {"id": format!("cus_{:08x}", rng.random::<u32>()), "email": format!("customer{number}@example.com")},
            "shipTo": {"street": format!("Harbour Street {}", rng.random_range(1..200)), "city": TOWNS.choose(&mut rng)},
            "lines": lines,
        },
    });
    json!({"eventType": "order.created", "payload": payload}).to_string()
}

/// The number of the order that a payload holds.
pub(super) fn number_in(payload: &[u8]) -> Option<usize> {
    let payload: Value = serde_json::from_slice(payload).ok()?;
    usize::try_from(payload["data"]["order"].as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_about_a_kibibyte_and_knows_its_number() {
        let request: Value = serde_json::from_str(&order(17)).unwrap();
        let payload = request["payload"].to_string();
        assert!(
            (800..1400).contains(&payload.len()),
            "{} bytes",
            payload.len()
        );
        assert_eq!(number_in(payload.as_bytes()), Some(17));
    }
}
