//! Reduces the paths of URLs to few values, with templates or by replacing the identifiers in a path.

/// The templates for paths, and how other paths are treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// The templates, in order. The first template that matches a path becomes its value.
    pub templates: Vec<PathTemplate>,
    /// What happens to a path that matches no template.
    pub unmatched: Unmatched,
}

/// A path with placeholders, such as `/users/{id}/orders` or `/static/**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    /// The segments; `None` stands for a placeholder.
    segments: Vec<Option<String>>,
    /// Whether the template ends with `**`, which matches the rest of a path.
    open: bool,
}

/// What happens to a path that matches no template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// The path becomes `_OTHER`.
    #[default]
    Other,
    /// Segments that are identifiers become `{number}`, `{uuid}` or `{id}`.
    Collapse,
}

/// The maximum number of segments of a collapsed path; the rest becomes `**`.
const SEGMENTS_MAX: usize = 12;

/// The shortest segment of letters and digits that can be an identifier, in bytes.
const ID_BYTES_MIN: usize = 8;

impl PathTemplate {
    /// Parses a template. A template starts with a slash; `{name}` matches one segment, and `**` at the end
    /// matches the rest of the path.
    pub fn parse(text: &str) -> Option<Self> {
        let mut segments = Vec::new();
        let mut open = false;
        for segment in text.strip_prefix('/')?.split('/') {
            if open {
                return None;
            }
            match segment {
                "**" => open = true,
                _ if segment.starts_with('{') && segment.ends_with('}') && segment.len() > 2 => {
                    segments.push(None);
                }
                _ if segment.contains(['{', '}', '*', '?', '#']) => return None,
                literal => segments.push(Some(literal.to_owned())),
            }
        }
        Some(Self { text: text.to_owned(), segments, open })
    }

    fn matches(&self, path: &[u8]) -> bool {
        let Some(path) = path.strip_prefix(b"/") else { return false };
        let mut rest = path.split(|byte| *byte == b'/');
        let all = self.segments.iter().all(|segment| match (segment, rest.next()) {
            (Some(text), Some(part)) => text.as_bytes() == part,
            (None, Some(part)) => !part.is_empty(),
            (_, None) => false,
        });
        all && self.open == rest.next().is_some()
    }
}

impl Paths {
    /// Appends the value of a path, with or without a query, to `out`. Unless [`Unmatched::Collapse`] is
    /// configured, the value is the text of a template or `_OTHER`.
    pub fn write(&self, path: &[u8], max_bytes: usize, out: &mut Vec<u8>) {
        let path = path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
        if path.is_empty() {
            return;
        }
        if let Some(template) = self.templates.iter().find(|template| template.matches(path)) {
            out.extend_from_slice(template.text.as_bytes());
            return;
        }
        match self.unmatched {
            Unmatched::Other => out.extend_from_slice(crate::transform::OTHER),
            Unmatched::Collapse => collapse(path, out.len().saturating_add(max_bytes), out),
        }
    }
}

/// Appends a path with its identifiers replaced. Stops before the segment with which `out` would exceed
/// `bytes_max`.
fn collapse(path: &[u8], bytes_max: usize, out: &mut Vec<u8>) {
    const REST: &[u8] = b"/**";
    for (number, segment) in path.split(|byte| *byte == b'/').enumerate() {
        let segment = placeholder(segment).unwrap_or(segment);
        let length = out.len().saturating_add(1).saturating_add(segment.len()).saturating_add(REST.len());
        if number > SEGMENTS_MAX || length > bytes_max {
            out.extend_from_slice(REST);
            out.truncate(bytes_max);
            return;
        }
        if number > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(segment);
    }
}

/// Returns the replacement of a segment, or `None` if the segment is not an identifier.
fn placeholder(segment: &[u8]) -> Option<&'static [u8]> {
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    let hex = segment.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    let dashes = segment.iter().filter(|byte| **byte == b'-').count();
    let words = segment.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
    let length = segment.len();
    match () {
        () if length > 0 && digits == length => Some(b"{number}"),
        () if length == 36 && hex == 32 && dashes == 4 => Some(b"{uuid}"),
        // Words have no digits and slugs have few. In an identifier, at least one character in four is a
        // digit.
        () if words >= ID_BYTES_MIN && digits.saturating_mul(4) >= words => Some(b"{id}"),
        // An escaped or unprintable segment is not part of a route's name.
        () if segment.iter().any(|byte| *byte == b'%' || !byte.is_ascii_graphic()) => Some(b"{id}"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(paths: &Paths, path: &str) -> String {
        let mut out = Vec::new();
        paths.write(path.as_bytes(), 64, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn templates(texts: &[&str]) -> Vec<PathTemplate> {
        texts.iter().map(|text| PathTemplate::parse(text).unwrap()).collect()
    }

    #[test]
    fn the_first_template_that_matches_is_the_value() {
        let templates =
            templates(&["/", "/users/{id}", "/users/{id}/orders/{order}", "/users/me", "/static/**"]);
        let paths = Paths { templates, unmatched: Unmatched::Other };
        for (path, expected) in [
            ("/", "/"),
            ("/users/7?q=/x", "/users/{id}"),
            ("/users/me", "/users/{id}"),
            ("/users/7/orders/9", "/users/{id}/orders/{order}"),
            ("/static", "_OTHER"),
            ("/static/a/b.js", "/static/**"),
            ("/users/", "_OTHER"),
            ("/users/7/", "_OTHER"),
            ("users/7", "_OTHER"),
            ("*", "_OTHER"),
            ("", ""),
        ] {
            assert_eq!(written(&paths, path), expected, "{path}");
        }
    }

    #[test]
    fn collapsing_replaces_identifiers() {
        let paths = Paths { templates: vec![], unmatched: Unmatched::Collapse };
        for (path, expected) in [
            ("/users/12345/orders", "/users/{number}/orders"),
            ("/o/123e4567-e89b-12d3-a456-426614174000", "/o/{uuid}"),
            ("/blob/9f86d081884c7d65", "/blob/{id}"),
            ("/v2/api", "/v2/api"),
            ("/health", "/health"),
            ("/a%20b/c", "/{id}/c"),
            ("/1/2/3/4/5/6/7/8/9", "/{number}/{number}/{number}/{number}/{number}/{number}/**"),
            ("/a/b/c/d/e/f/g/h/i/j/k/l/m/n", "/a/b/c/d/e/f/g/h/i/j/k/l/**"),
        ] {
            assert_eq!(written(&paths, path), expected, "{path}");
        }
    }

    #[test]
    fn an_invalid_template_is_rejected() {
        for text in ["", "users", "/a/**/b", "/a*", "/{}", "/a{b}", "/a?b"] {
            assert_eq!(PathTemplate::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_part_of_an_unmatched_path_is_shown(path in "/[a-z0-9/%]{0,40}") {
            let paths = Paths { templates: templates(&["/known/{id}"]), unmatched: Unmatched::Other };
            let value = written(&paths, &path);
            prop_assert!(value == "_OTHER" || value == "/known/{id}", "{value}");
        }
    }
}
