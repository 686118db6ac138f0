//! Reading a snapshot where it lies: metric by metric, point by point, without a copy of the whole.

use tributary_proto::attributes::{self, Value as Attribute};
use tributary_proto::console::{FIELD_IS_CUT, FIELD_TIME};
use tributary_proto::protobuf::{Field, field, varints, zigzag};

/// What the service wrote: OTLP in protobuf, in parts, each with the whole resource.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot<'a> {
    /// When it was begun, in Unix nanoseconds.
    pub time_unix_nano: u64,
    /// Whether series were left out.
    pub is_cut: bool,
    bytes: &'a [u8],
}

/// Some points of one metric; others may be in the parts that follow.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What they are points of.
    pub family: Family<'a>,
    data: &'a [u8],
}

/// What a metric is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Family<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it says.
    pub description: &'a str,
    /// Its unit, of UCUM.
    pub unit: &'a str,
    /// What its points are.
    pub form: Form,
}

/// What points are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Sums that only grow.
    #[default]
    Sum,
    /// Sums that also fall.
    UpDown,
    /// Counts between bounds.
    Histogram,
    /// Counts in buckets that grow by powers of two.
    Exponential,
}

/// One series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point<'a> {
    /// Its attributes, by their keys.
    pub attributes: Vec<(&'a str, Attribute<'a>)>,
    /// A sum.
    pub number: Number,
    /// How many values, of a histogram.
    pub count: u64,
    /// The sum of them.
    pub sum: f64,
    /// Those that are 0, of an exponential histogram.
    pub zero_count: u64,
    /// Its scale.
    pub scale: i64,
    /// The index of its first bucket.
    pub offset: i64,
    /// The count of each bucket.
    pub buckets: Vec<u64>,
    /// The upper bounds of all buckets but the last.
    pub bounds: Vec<f64>,
    /// One of the values.
    pub exemplar: Option<Exemplar<'a>>,
    /// Whether the series has ended: it has no value then.
    pub has_ended: bool,
}

/// A sum, as it was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(i64),
    /// Any number.
    Double(f64),
}

/// One of the values of a series, and where it came from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Exemplar<'a> {
    /// The value.
    pub value: f64,
    /// When, in Unix nanoseconds.
    pub time_unix_nano: u64,
    /// The trace.
    pub trace_id: &'a [u8],
    /// The span in it.
    pub span_id: &'a [u8],
}

impl Default for Number {
    fn default() -> Self {
        Self::Whole(0)
    }
}

impl<'a> Snapshot<'a> {
    /// The snapshot in these bytes. Of what is none there is nothing in it.
    pub fn read(bytes: &'a [u8]) -> Self {
        let mut snapshot = Self { bytes, ..Self::default() };
        for (number, value) in fields(bytes) {
            match value {
                Field::Fixed64(time) if number == u64::from(FIELD_TIME) => snapshot.time_unix_nano = time,
                Field::Varint(cut) if number == u64::from(FIELD_IS_CUT) => snapshot.is_cut = cut != 0,
                _ => {}
            }
        }
        snapshot
    }

    /// The attributes of the resource.
    pub fn resource(&self) -> Vec<(&'a str, Attribute<'a>)> {
        let first = messages(self.bytes, 1).next();
        let resource = first.and_then(|part| messages(part, 1).next()).unwrap_or_default();
        messages(resource, 1).filter_map(|attribute| attributes::read(attribute).ok()).collect()
    }

    /// The points, part by part.
    pub fn parts(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let scopes = messages(self.bytes, 1).flat_map(|part| messages(part, 2));
        scopes.flat_map(|scope| messages(scope, 2)).map(Part::read)
    }
}

impl<'a> Part<'a> {
    fn read(metric: &'a [u8]) -> Self {
        let mut part = Self { family: Family::default(), data: &[] };
        for (number, value) in fields(metric) {
            let Field::Bytes(bytes) = value else { continue };
            let text = || std::str::from_utf8(bytes).unwrap_or_default();
            match number {
                1 => part.family.name = text(),
                2 => part.family.description = text(),
                3 => part.family.unit = text(),
                7 => {
                    let only_grows = fields(bytes).any(|field| field == (3, Field::Varint(1)));
                    part.family.form = if only_grows { Form::Sum } else { Form::UpDown };
                }
                9 => part.family.form = Form::Histogram,
                10 => part.family.form = Form::Exponential,
                _ => {}
            }
            if number >= 7 {
                part.data = bytes;
            }
        }
        part
    }

    /// Its points.
    pub fn points(&self) -> impl Iterator<Item = Point<'a>> + use<'a> {
        let form = self.family.form;
        messages(self.data, 1).map(move |point| Point::read(form, point))
    }
}

impl<'a> Point<'a> {
    fn read(form: Form, bytes: &'a [u8]) -> Self {
        let mut point = Self::default();
        for (number, value) in fields(bytes) {
            match form {
                Form::Sum | Form::UpDown => point.take_number(number, value),
                Form::Histogram => point.take_histogram(number, value),
                Form::Exponential => point.take_exponential(number, value),
            }
        }
        point
    }

    fn take_number(&mut self, number: u64, value: Field<'a>) {
        match (number, value) {
            (4, Field::Fixed64(bits)) => self.number = Number::Double(f64::from_bits(bits)),
            (6, Field::Fixed64(bits)) => self.number = Number::Whole(bits.cast_signed()),
            (7, Field::Bytes(attribute)) => self.attributes.extend(attributes::read(attribute)),
            (5, Field::Bytes(exemplar)) => self.exemplar = Some(Exemplar::read(exemplar)),
            (8, Field::Varint(flags)) => self.has_ended = flags & 1 != 0,
            _ => {}
        }
    }

    fn take_histogram(&mut self, number: u64, value: Field<'a>) {
        match (number, value) {
            (4, Field::Fixed64(count)) => self.count = count,
            (5, Field::Fixed64(bits)) => self.sum = f64::from_bits(bits),
            (6, Field::Bytes(counts)) => self.buckets = fixed64s(counts).collect(),
            (7, Field::Bytes(bounds)) => self.bounds = fixed64s(bounds).map(f64::from_bits).collect(),
            (8, Field::Bytes(exemplar)) => self.exemplar = Some(Exemplar::read(exemplar)),
            (9, Field::Bytes(attribute)) => self.attributes.extend(attributes::read(attribute)),
            (10, Field::Varint(flags)) => self.has_ended = flags & 1 != 0,
            _ => {}
        }
    }

    fn take_exponential(&mut self, number: u64, value: Field<'a>) {
        match (number, value) {
            (1, Field::Bytes(attribute)) => self.attributes.extend(attributes::read(attribute)),
            (4, Field::Fixed64(count)) => self.count = count,
            (5, Field::Fixed64(bits)) => self.sum = f64::from_bits(bits),
            (6, Field::Varint(scale)) => self.scale = zigzag::decode(scale),
            (7, Field::Fixed64(count)) => self.zero_count = count,
            (8, Field::Bytes(buckets)) => {
                for field in fields(buckets) {
                    match field {
                        (1, Field::Varint(offset)) => self.offset = zigzag::decode(offset),
                        (2, Field::Bytes(counts)) => self.buckets = varints(counts).unwrap_or_default(),
                        _ => {}
                    }
                }
            }
            (10, Field::Varint(flags)) => self.has_ended = flags & 1 != 0,
            _ => {}
        }
    }
}

impl<'a> Exemplar<'a> {
    #[expect(clippy::cast_precision_loss, reason = "it is written as a double")]
    fn read(bytes: &'a [u8]) -> Self {
        let mut exemplar = Self::default();
        for field in fields(bytes) {
            match field {
                (2, Field::Fixed64(time)) => exemplar.time_unix_nano = time,
                (3, Field::Fixed64(bits)) => exemplar.value = f64::from_bits(bits),
                (6, Field::Fixed64(whole)) => exemplar.value = whole.cast_signed() as f64,
                (4, Field::Bytes(id)) => exemplar.span_id = id,
                (5, Field::Bytes(id)) => exemplar.trace_id = id,
                _ => {}
            }
        }
        exemplar
    }
}

fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || field(&mut bytes))
}

fn messages(bytes: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    fields(bytes).filter_map(move |(number, value)| match value {
        Field::Bytes(message) if number == wanted => Some(message),
        _ => None,
    })
}

fn fixed64s(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks().0.iter().map(|chunk| u64::from_le_bytes(*chunk))
}
