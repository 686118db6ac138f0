//! Making few values of the paths of URLs: by templates, or by taking out what names a single thing.

/// How paths are made to few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Tried in order; the first that fits is the value.
    pub templates: Vec<Template>,
    /// What becomes of a path that fits none.
    pub unmatched: Unmatched,
}

/// A path with holes, such as `/users/{id}/orders` or `/static/**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
    /// Whether anything may follow.
    open: bool,
}

/// What becomes of a path that fits no template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// `_OTHER`.
    #[default]
    Other,
    /// Segments that name a single thing become `{number}`, `{uuid}` or `{id}`; the others stay.
    Collapse,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Any,
}

/// Segments of a path that are looked at; what follows becomes `**`.
const SEGMENTS_MAX: usize = 12;

/// Letters and digits from which a segment with both counts as an identifier.
const ID_BYTES_MIN: usize = 8;

impl Template {
    /// Reads a template: it begins with a slash; `{name}` stands for one segment, `**` at the end for the rest.
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
                    segments.push(Segment::Any);
                }
                _ if segment.contains(['{', '}', '*', '?', '#']) => return None,
                literal => segments.push(Segment::Literal(literal.to_owned())),
            }
        }
        Some(Self { text: text.to_owned(), segments, open })
    }

    fn fits(&self, path: &[u8]) -> bool {
        let Some(path) = path.strip_prefix(b"/") else { return false };
        let mut rest = path.split(|byte| *byte == b'/');
        for segment in &self.segments {
            let Some(part) = rest.next() else { return false };
            let fits = match segment {
                Segment::Literal(text) => text.as_bytes() == part,
                Segment::Any => !part.is_empty(),
            };
            if !fits {
                return false;
            }
        }
        self.open == rest.next().is_some()
    }
}

impl Paths {
    /// Appends what becomes of a path, with or without a query, to `out`: never a part of the path that nobody foresaw, unless
    /// collapsing was asked for.
    pub fn write(&self, path: &[u8], max_bytes: usize, out: &mut Vec<u8>) {
        let end = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
        let path = path.get(..end).unwrap_or(path);
        if path.is_empty() {
            return;
        }
        if let Some(template) = self.templates.iter().find(|template| template.fits(path)) {
            out.extend_from_slice(template.text.as_bytes());
            return;
        }
        match self.unmatched {
            Unmatched::Other => out.extend_from_slice(crate::form::OTHER),
            Unmatched::Collapse => collapse(path, out.len().saturating_add(max_bytes), out),
        }
    }
}

/// Appends a path without what names a single thing, up to the segment with which `out` would be longer than `bytes_max`.
fn collapse(path: &[u8], bytes_max: usize, out: &mut Vec<u8>) {
    const REST: &[u8] = b"/**";
    for (number, segment) in path.split(|byte| *byte == b'/').enumerate() {
        let segment = stand_in(segment).unwrap_or(segment);
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

/// What stands for a segment that names a single thing.
fn stand_in(segment: &[u8]) -> Option<&'static [u8]> {
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    let hex = segment.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    let dashes = segment.iter().filter(|byte| **byte == b'-').count();
    let words = segment.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
    let length = segment.len();
    match () {
        () if length > 0 && digits == length => Some(b"{number}"),
        () if length == 36 && hex == 32 && dashes == 4 => Some(b"{uuid}"),
        // A word has no digit in it, a slug few: an identifier of letters and digits has one in four or more.
        () if words >= ID_BYTES_MIN && digits.saturating_mul(4) >= words => Some(b"{id}"),
        // Not text, or escaped: nobody's name for a route.
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

    fn templates(texts: &[&str]) -> Vec<Template> {
        texts.iter().map(|text| Template::parse(text).unwrap()).collect()
    }

    #[test]
    fn the_first_template_that_fits_is_the_value() {
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
    fn collapsing_takes_out_what_names_a_single_thing() {
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
    fn a_template_that_makes_no_sense_is_refused() {
        for text in ["", "users", "/a/**/b", "/a*", "/{}", "/a{b}", "/a?b"] {
            assert_eq!(Template::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_fits_no_template_is_never_shown(path in "/[a-z0-9/%]{0,40}") {
            let paths = Paths { templates: templates(&["/known/{id}"]), unmatched: Unmatched::Other };
            let value = written(&paths, &path);
            prop_assert!(value == "_OTHER" || value == "/known/{id}", "{value}");
        }
    }
}
