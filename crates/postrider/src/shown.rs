//! Text of others, made fit for a terminal: nothing in it moves the cursor or changes a colour.

/// In one line: a line's end and the indentation behind it are one blank. Cut to `most` characters.
pub(crate) fn inline(text: &str, most: usize) -> String {
    let mut line = String::new();
    for part in text.split(['\n', '\r']) {
        let part = if line.is_empty() {
            part
        } else {
            part.trim_start()
        };
        if !line.is_empty() && !part.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
    }
    let Some((end, _)) = line.char_indices().nth(most) else {
        return printable(&line);
    };
    let more = line[end..].chars().count();
    format!("{}… ({more} characters more)", printable(&line[..end]))
}

/// As it is, but for control characters, which are written as escapes; lines stay lines.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => shown.push(letter),
            letter if letter.is_control() => shown.extend(letter.escape_default()),
            letter => shown.push(letter),
        }
    }
    shown
}

/// Lines of at most `columns` characters, broken at blanks; what has none stays whole.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut room = 0;
    // Blanks that align a line's columns stay as they are.
    for word in text.split_inclusive(' ') {
        let width = word.trim_end().chars().count();
        match lines.last_mut() {
            Some(line) if width <= room => line.push_str(word),
            _ => {
                lines.push(word.to_owned());
                room = columns;
            }
        }
        room = room.saturating_sub(word.chars().count());
    }
    lines
        .iter_mut()
        .for_each(|line| line.truncate(line.trim_end().len()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_one_line_and_moves_no_cursor() {
        assert_eq!(
            inline("{\r\n\t\"a\":  1,\n\n  \"b\": 2\n}\n", 99),
            "{ \"a\":  1, \"b\": 2 }"
        );
        assert_eq!(inline("a\u{1b}[31mb\0", 99), "a\\u{1b}[31mb\\u{0}");
        assert_eq!(inline("abcdef", 4), "abcd… (2 characters more)");
        assert_eq!(printable("a\n\tb\u{7f}"), "a\n\tb\\u{7f}");
    }

    #[test]
    fn a_long_line_is_broken_at_blanks_and_keeps_its_columns() {
        assert_eq!(
            wrapped("name       of a thing", 16),
            ["name       of a", "thing"]
        );
        assert_eq!(wrapped("ab cdefghij kl", 5), ["ab", "cdefghij", "kl"]);
        assert_eq!(wrapped("äää äää", 7), ["äää äää"]);
        assert_eq!(wrapped("", 7), [""; 0]);
    }
}
