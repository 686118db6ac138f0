//! Text that one line of a log or terminal can show.

use crate::hex;

/// Escapes, as in JSON (`\u000a`), every character that ends a line or changes how it is shown: control
/// characters, with which terminal sequences begin, line separators, and invisible characters such as those
/// that change the direction of text.
///
/// JSON without line feeds between its tokens keeps its value.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    push(&mut escaped, text, false);
    escaped
}

/// Escapes text like [`escape`], and puts it between quotes.
///
/// The standard library's `{:?}` would add 8 KiB of Unicode tables to a module.
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    push(&mut quoted, text, true);
    quoted.push('"');
    quoted
}

fn push(out: &mut String, text: &str, escapes_quotes: bool) {
    for letter in text.chars() {
        if is_printable(letter) && !(escapes_quotes && letter == '"') {
            out.push(letter);
            continue;
        }
        out.push_str("\\u");
        // None of them needs more than 16 bits.
        let [.., high, low] = u32::from(letter).to_be_bytes();
        [high, low].into_iter().flat_map(hex::of).for_each(|digit| out.push(char::from(digit)));
    }
}

fn is_printable(letter: char) -> bool {
    let is_invisible = matches!(
        letter,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    !is_invisible && !letter.is_control()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn characters_that_change_a_line_are_escaped() {
        for (text, expected) in [
            ("plain \u{e9} \u{4e2d} \u{1f600} \\", "plain \u{e9} \u{4e2d} \u{1f600} \\"),
            ("a\nb\r\t\0", "a\\u000ab\\u000d\\u0009\\u0000"),
            ("\u{1b}[31mred\u{9b}0m\u{7f}", "\\u001b[31mred\\u009b0m\\u007f"),
            ("\u{202e}\u{2066}\u{200f}\u{2028}\u{feff}", "\\u202e\\u2066\\u200f\\u2028\\ufeff"),
        ] {
            assert_eq!(escape(text), expected);
        }
        assert_eq!(quote("a\"b\n"), "\"a\\u0022b\\u000a\"");
    }

    proptest! {
        #[test]
        fn escaped_text_is_printable_and_stays(text: String) {
            let escaped = escape(&text);
            prop_assert!(escaped.chars().all(is_printable));
            prop_assert_eq!(escape(&escaped), escaped);
        }

        #[test]
        fn escaped_json_has_the_same_value(text: String) {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&escape(&json)).unwrap(), text);
        }
    }
}
