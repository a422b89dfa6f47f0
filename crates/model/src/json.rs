//! How deep JSON is nested, found without parsing it: a reader that recurses must not be handed a bomb.

/// True if arrays and objects in `json`, which is valid JSON, are nested at most `limit` deep.
pub fn is_within_depth(json: &[u8], limit: usize) -> bool {
    let mut depth = 0usize;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return false;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    true
}

/// Moves behind the quote that ends the string.
fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_arrays_and_objects_but_not_what_strings_contain() {
        assert!(is_within_depth(br#"{"a":[1,{"b":"[[[[\"{{{"}],"c":[]}"#, 3));
        assert!(!is_within_depth(br#"{"a":[1,{"b":2}]}"#, 2));
        assert!(is_within_depth(br#"[[],[],[],[]]"#, 2));
    }
}
