//! Headers as they lie in a column: for each, length and bytes of its name, length and bytes of its value; lengths are
//! 32 bits, little-endian. No header is an empty column.

use bytes::{Buf, Bytes};
use postrider_log::Headers;

/// Writes headers into `buffer`, which is cleared first.
pub(crate) fn encode(headers: &Headers, buffer: &mut Vec<u8>) {
    buffer.clear();
    for (name, value) in headers.iter() {
        for part in [name.as_bytes(), value.as_ref()] {
            // A record is at most 256 MiB, so a length always fits.
            buffer.extend_from_slice(&(part.len() as u32).to_le_bytes());
            buffer.extend_from_slice(part);
        }
    }
}

/// Reads them back; none if the column holds something else.
pub(crate) fn decode(column: &[u8]) -> Option<Headers> {
    let mut headers = Headers::new();
    if column.is_empty() {
        return Some(headers);
    }
    let mut rest = Bytes::copy_from_slice(column);
    while !rest.is_empty() {
        let name = String::from_utf8(part(&mut rest)?.to_vec()).ok()?;
        headers.push(name, part(&mut rest)?);
    }
    Some(headers)
}

fn part(rest: &mut Bytes) -> Option<Bytes> {
    let length = rest.try_get_u32_le().ok()? as usize;
    (length <= rest.len()).then(|| rest.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_went_with_repeated_names_and_binary_values() {
        let mut headers = Headers::new();
        headers.push("a", &b"\0\xff"[..]);
        headers.push("a", &b""[..]);
        headers.push("", &b"x"[..]);
        let mut column = Vec::new();
        encode(&headers, &mut column);
        assert_eq!(decode(&column), Some(headers));
        assert_eq!(decode(&[]), Some(Headers::new()));
        assert_eq!(decode(&column[1..]), None);
    }
}
