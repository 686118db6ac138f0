//! The attributes of streams, read as properties or with expressions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proxy_wasm::types::Status;

use super::cel;

/// The attributes of the current stream, and the compiled expressions.
#[derive(Debug, Default)]
pub struct FakeStreams {
    /// Attributes in wire format, by their path such as `request.method`.
    pub attributes: BTreeMap<String, Vec<u8>>,
    /// The attributes of open streams, by their number.
    pub open: BTreeMap<u32, BTreeMap<String, Vec<u8>>>,
    /// The results of the next evaluations and property reads, for tests of a host that returns arbitrary
    /// bytes.
    pub results: VecDeque<Vec<u8>>,
    /// Whether the host has no CEL.
    pub without_expressions: bool,
    /// The number of evaluations.
    pub evaluations: u64,
    /// The number of property reads.
    pub properties: u64,
    /// The root contexts of running VMs.
    pub(super) roots: BTreeSet<u32>,
    expressions: Vec<String>,
    /// Whether the current stream became current in a callback of another context.
    entered: bool,
}

impl FakeStreams {
    /// Starts a stream with these attributes.
    pub fn begin(&mut self, attributes: impl IntoIterator<Item = (&'static str, Vec<u8>)>) {
        self.attributes = attributes.into_iter().map(|(path, value)| (path.to_owned(), value)).collect();
        self.entered = false;
    }

    /// Makes a context the current one in a callback of another context. If the context is an open stream,
    /// its properties can then be read, but expressions cannot be evaluated for it (Envoy 1.40). A root
    /// context has no attributes.
    pub fn enter(&mut self, context: u32) -> Result<(), Status> {
        if self.roots.contains(&context) {
            return Ok(());
        }
        self.attributes = self.open.get(&context).ok_or(Status::BadArgument)?.clone();
        self.entered = true;
        Ok(())
    }

    /// Returns the attribute at a path with NUL between its segments.
    pub fn property(&mut self, path: &[u8]) -> Result<Vec<u8>, Status> {
        self.properties = self.properties.saturating_add(1);
        let path = String::from_utf8_lossy(path).replace('\0', ".");
        // The kind of the stream does not depend on input.
        if path != "request.protocol"
            && let Some(result) = self.results.pop_front()
        {
            return Ok(result);
        }
        self.attributes.get(&path).cloned().ok_or(Status::NotFound)
    }

    /// Runs `expr_create` and `expr_evaluate` for the CEL of `cel.rs`. An expression with `BROKEN` in it does
    /// not compile.
    pub fn foreign_function(&mut self, name: &str, arguments: &[u8]) -> Result<Vec<u8>, Status> {
        match name {
            _ if self.without_expressions => Err(Status::NotFound),
            "expr_create" => self.compile(&String::from_utf8_lossy(arguments)),
            "expr_evaluate" => self.evaluate(arguments),
            "expr_delete" => Ok(Vec::new()),
            _ => Err(Status::NotFound),
        }
    }

    fn compile(&mut self, text: &str) -> Result<Vec<u8>, Status> {
        if text.contains("BROKEN") {
            return Err(Status::BadArgument);
        }
        let token = u32::try_from(self.expressions.len()).unwrap_or(u32::MAX);
        self.expressions.push(text.to_owned());
        Ok(token.to_le_bytes().to_vec())
    }

    fn evaluate(&mut self, token: &[u8]) -> Result<Vec<u8>, Status> {
        self.evaluations = self.evaluations.saturating_add(1);
        if let Some(result) = self.results.pop_front() {
            return Ok(result);
        }
        let token = token.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).ok_or(Status::BadArgument)?;
        let index = usize::try_from(token).map_err(|_| Status::BadArgument)?;
        let text = self.expressions.get(index).ok_or(Status::NotFound)?;
        if self.entered {
            return Err(Status::InternalFailure);
        }
        cel::evaluate(text, &self.attributes).ok_or(Status::InternalFailure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_attribute_fails_the_whole_list() {
        let mut streams = FakeStreams::default();
        let token = streams.foreign_function("expr_create", b"[request.method, response.code]").unwrap();
        streams.begin([("request.method", b"GET".to_vec())]);
        assert_eq!(streams.foreign_function("expr_evaluate", &token), Err(Status::InternalFailure));
        assert_eq!(streams.property(b"request\0method"), Ok(b"GET".to_vec()));
        streams
            .begin([("request.method", b"GET".to_vec()), ("response.code", vec![200, 0, 0, 0, 0, 0, 0, 0])]);
        let wire = streams.foreign_function("expr_evaluate", &token).unwrap();
        assert_eq!(wire, b"\x02\0\0\0\x03\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0GET\0\0\xc8\0\0\0\0\0\0\0\0\0");
    }
}
