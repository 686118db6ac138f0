//! The requests of a load: shapes with weights, selected pseudo-randomly with a seed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::upstream::{BODY_BYTES_HEADER, DELAY_HEADER, FAULT_HEADER, STATUS_HEADER, UpstreamFault};

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client waits for the whole response.
    Response,
    /// The client closes the connection (FIN) as soon as the request is sent.
    CloseBeforeResponse,
    /// The client resets the connection (RST) as soon as the request is sent.
    ResetBeforeResponse,
    /// The client resets the connection (RST) after the response headers.
    ResetDuringResponse,
    /// The client sends half of the request head and closes the connection (FIN).
    HalfHeader,
}

/// One kind of request.
#[derive(Debug, Clone)]
pub struct Shape {
    name: String,
    weight: u32,
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    raw: Option<Vec<u8>>,
    ending: Ending,
    /// The name of the header that contains the request number, if there is one.
    numbered: Option<String>,
    /// The encoded request; empty until the shape is part of a mix.
    bytes: Vec<u8>,
    /// The index of the request number in `bytes`.
    number_at: Option<usize>,
}

/// The number of digits of a request number.
const NUMBER_DIGITS: usize = 8;

/// A mix of shapes; the shape of the n-th request depends only on the seed and n.
#[derive(Debug, Clone)]
pub struct Mix {
    /// `None` if the shapes take turns.
    seed: Option<u64>,
    shapes: Arc<[Shape]>,
    /// The cumulative weights.
    bounds: Arc<[u64]>,
}

impl Shape {
    /// Makes a `GET` request of `path` with weight 1, called `name` in the tally.
    pub fn get(name: &str, path: &str) -> Self {
        Self::new(name, "GET", path)
    }

    /// Makes a request of any method with weight 1, called `name` in the tally.
    pub fn new(name: &str, method: &str, path: &str) -> Self {
        Self {
            name: name.to_owned(),
            weight: 1,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            raw: None,
            ending: Ending::Response,
            numbered: None,
            bytes: Vec::new(),
            number_at: None,
        }
    }

    /// Makes a request of exactly these bytes, well-formed or not.
    pub fn raw(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(bytes.into()), ..Self::new(name, "GET", "/") }
    }

    /// Sets how often the shape occurs, relative to the other shapes.
    #[must_use]
    pub fn weight(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    /// Adds a header; the value may be any bytes.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Adds a header whose value is the request number within the load, in eight digits, so that it differs
    /// in each request.
    #[must_use]
    pub fn numbered_header(self, name: &str) -> Self {
        Self { numbered: Some(name.to_owned()), ..self }
    }

    /// Sets the body.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Makes the upstream respond with `status`.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.header(STATUS_HEADER, status.to_string())
    }

    /// Makes the upstream wait before it responds.
    #[must_use]
    pub fn delay_ms(self, delay_ms: u64) -> Self {
        self.header(DELAY_HEADER, delay_ms.to_string())
    }

    /// Makes the upstream respond with a body of `bytes` bytes.
    #[must_use]
    pub fn body_bytes(self, bytes: usize) -> Self {
        self.header(BODY_BYTES_HEADER, bytes.to_string())
    }

    /// Makes the upstream fail.
    #[must_use]
    pub fn fault(self, fault: UpstreamFault) -> Self {
        self.header(FAULT_HEADER, fault.name())
    }

    /// Sets how the request ends; by default the client waits for the response.
    #[must_use]
    pub fn ending(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    /// Returns the name of the shape in the tally.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn expected_ending(&self) -> Ending {
        self.ending
    }

    /// Returns whether this is a HEAD request, whose response has no body regardless of its headers.
    pub(super) fn is_head(&self) -> bool {
        self.raw.is_none() && self.method == "HEAD"
    }

    /// Encodes request number `index`.
    pub(super) fn bytes(&self, index: u64) -> Cow<'_, [u8]> {
        let Some(at) = self.number_at else { return Cow::Borrowed(&self.bytes) };
        let mut bytes = self.bytes.clone();
        if let Some(place) = bytes.get_mut(at..at + NUMBER_DIGITS) {
            place.copy_from_slice(format!("{:08}", index % 100_000_000).as_bytes());
        }
        Cow::Owned(bytes)
    }

    /// Encodes the request once, so that sending needs no formatting.
    fn assemble(&mut self) {
        if let Some(raw) = &self.raw {
            self.bytes.clone_from(raw);
            return;
        }
        let mut bytes = format!("{} {} HTTP/1.1\r\nhost: shop\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if let Some(name) = &self.numbered {
            bytes.extend_from_slice(format!("{name}: ").as_bytes());
            self.number_at = Some(bytes.len());
            bytes.extend_from_slice(&[b'0'; NUMBER_DIGITS]);
            bytes.extend_from_slice(b"\r\n");
        }
        if self.ending == Ending::HalfHeader {
            bytes.extend_from_slice(b"x-half-a-hea");
        } else {
            if !self.body.is_empty() {
                bytes.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
            }
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(&self.body);
        }
        self.bytes = bytes;
    }
}

impl Mix {
    /// Makes a random mix of `shapes`.
    ///
    /// # Errors
    /// No shape has a weight above 0, or two shapes have the same name.
    pub fn new(seed: u64, shapes: impl IntoIterator<Item = Shape>) -> Result<Self> {
        let mut shapes: Vec<Shape> = shapes.into_iter().collect();
        let names: BTreeMap<&str, ()> = shapes.iter().map(|shape| (shape.name(), ())).collect();
        ensure!(names.len() == shapes.len(), "two shapes of a mix have the same name");
        let mut total = 0;
        let mut bounds = Vec::new();
        for shape in &mut shapes {
            total += u64::from(shape.weight);
            bounds.push(total);
            shape.assemble();
        }
        ensure!(total > 0, "a mix needs a shape with a weight");
        Ok(Self { seed: Some(seed), shapes: shapes.into(), bounds: bounds.into() })
    }

    /// Makes a mix in which `shapes` take turns. The weight of a shape is the number of its requests in
    /// each turn.
    pub fn in_turn(shapes: impl IntoIterator<Item = Shape>) -> Result<Self> {
        Ok(Self { seed: None, ..Self::new(0, shapes)? })
    }

    /// Returns the shapes, in the order given.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Counts the shapes of the first `requests` requests, by name, without sending anything.
    pub fn expected(&self, requests: u64) -> BTreeMap<&str, u64> {
        let mut expected: BTreeMap<&str, u64> = self.shapes.iter().map(|shape| (shape.name(), 0)).collect();
        for index in 0..requests {
            *expected.entry(self.pick(index).1.name()).or_default() += 1;
        }
        expected
    }

    /// Returns the position and the shape of request number `index`.
    pub(super) fn pick(&self, index: u64) -> (usize, &Shape) {
        let total = self.bounds.last().copied().unwrap_or(1);
        let draw = self.seed.map_or(index, |seed| split_mix(seed, index)) % total;
        let position = self.bounds.partition_point(|bound| *bound <= draw);
        // The random number is below the last bound, so the position is valid.
        #[expect(clippy::indexing_slicing)]
        (position, &self.shapes[position])
    }
}

/// Returns the `index`-th output of the generator SplitMix64 (Steele, Lea and Flood, 2014).
fn split_mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
