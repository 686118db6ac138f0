//! Reads the values of a stream: all with one CEL list expression if possible, otherwise one by one.

use log::warn;
use tributary_host::Status;
use tributary_host::attributes::{self, Expression};
use tributary_proto::config::quoted;
use tributary_proto::pairs::Pairs;

use crate::guards::{self, Guards, SourceSet};
use crate::observation::Observation;
use tributary_plan::plan::SOURCES_MAX;
use tributary_plan::source::{FallbackRead, Source};

/// Reads the sources of a metric group.
#[derive(Debug)]
pub struct AttributeReader {
    sources: Vec<Source>,
    guards: Guards,
    /// The list in which only some sources have guards. It is cheap, but its evaluation fails if a value
    /// without a guard is absent. `None` if Envoy does not compile it.
    plain: Option<Expression>,
    /// The list in which every source has its guard. It costs more than the plain list, but fails less often.
    guarded: Option<Expression>,
    /// For each source, its own compiled expression. `None` if the source is read without an expression, or
    /// if Envoy does not support expressions.
    expressions: Vec<Option<Expression>>,
    /// The number of following streams for which only the guarded list is tried, because the plain list
    /// failed.
    penalty: u32,
    /// Whether a failed list was logged.
    warned: bool,
}

/// How the values of an observation were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// By one host call for all sources, with a list.
    List,
    /// By one host call for each source, because no list could be evaluated.
    OneByOne,
}

/// An expression that Envoy rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExpression {
    /// The source that has the expression.
    pub source: Source,
    /// The status with which Envoy rejected the expression.
    pub status: Status,
}

/// The penalty of a failed plain list, in streams. A failed list costs about five times the difference
/// between a guarded and a plain list.
const PENALTY: u32 = 5;

impl AttributeReader {
    /// Compiles the lists, and each expression separately, in the current root context.
    ///
    /// # Errors
    /// Envoy supports expressions, but rejects an expression of one of these sources.
    pub fn new(sources: &[Source]) -> Result<Self, BadExpression> {
        // The single expressions are compiled before the lists: Envoy logs why it rejects an expression,
        // and this log then shows the expression as it was configured.
        let single = |source: &Source| match &source.fallback {
            FallbackRead::Expression(text) => match attributes::compile(text) {
                Err(Status::NotFound) => Ok(None),
                Err(status) => Err(BadExpression { source: source.clone(), status }),
                Ok(expression) => Ok(Some(expression)),
            },
            FallbackRead::Property(_) | FallbackRead::Chain(_) => Ok(None),
        };
        let expressions = sources.iter().map(single).collect::<Result<_, _>>()?;
        let guards = Guards::new(sources);
        let plain = compile(sources, guards.guarded);
        let guarded = attributes::compile(&list(sources.iter().map(|source| &*source.guarded)));
        let (sources, guarded) = (sources.to_vec(), guarded.ok());
        Ok(Self { sources, guards, plain, guarded, expressions, penalty: 0, warned: false })
    }

    /// Returns whether Envoy compiled both lists. Without them, reading a stream costs more.
    pub fn has_lists(&self) -> bool {
        self.plain.is_some() && self.guarded.is_some()
    }

    /// Compiles the plain list again if other sources should have guards, according to which values were
    /// absent recently. Called on ticks, because compiling costs more than reading many streams.
    pub fn adapt_guards(&mut self) {
        if let Some(old) = self.plain
            && let Some(guarded) = self.guards.decide()
            && let Some(list) = compile(&self.sources, guarded)
        {
            attributes::forget(old);
            self.plain = Some(list);
            self.guards.guarded = guarded;
            self.penalty = 0;
        }
    }

    /// Reads the current stream and calls `observe` with its values.
    pub fn read<T>(&mut self, observe: impl FnOnce(&Observation<'_>, ReadMode) -> T) -> T {
        let mut values = None;
        let mut guarded = self.guards.guarded;
        if self.penalty == 0 {
            values = self.plain.and_then(|list| attributes::evaluate(list).ok());
            if values.is_none() {
                self.penalty = PENALTY;
            }
        }
        if values.is_none() {
            self.penalty = self.penalty.saturating_sub(1);
            guarded = self.guards.marking;
            values = self.guarded.and_then(|list| attributes::evaluate(list).ok());
        }
        let mut observation = Observation::default();
        if let Some(values) = &values
            && read_list(values, self.sources.len(), &mut observation)
        {
            self.guards.clear_absent(guarded, &mut observation);
            return observe(&observation, ReadMode::List);
        }
        let should_warn = self.has_lists() && !self.warned;
        self.warned |= should_warn;
        let sources = &self.sources;
        self.read_each(true, |observation| {
            if should_warn {
                warn_list_failed(sources, observation);
            }
            observe(observation, ReadMode::OneByOne)
        })
    }

    /// Reads a stream that was entered on a tick and calls `observe` with its values. The values of
    /// expressions are absent, because Envoy evaluates expressions for the context that it called, which is
    /// the root context and not the stream (1.36.4, 1.40.0).
    pub fn read_entered<T>(&self, observe: impl FnOnce(&Observation<'_>) -> T) -> T {
        self.read_each(false, observe)
    }

    fn read_each<T>(&self, evaluates: bool, observe: impl FnOnce(&Observation<'_>) -> T) -> T {
        let read = |(source, expression): (&Source, &Option<Expression>)| match &source.fallback {
            FallbackRead::Property(path) => attributes::property(path).ok(),
            FallbackRead::Expression(_) => attributes::evaluate(expression.filter(|_| evaluates)?).ok(),
            FallbackRead::Chain(chain) => chain.read(&|path| attributes::property(path.as_bytes()).ok()),
        };
        let values: Vec<_> = self.sources.iter().zip(&self.expressions).map(read).collect();
        let mut observation = Observation::default();
        for (place, value) in observation.values_mut().iter_mut().zip(&values) {
            *place = value.as_deref();
        }
        observe(&observation)
    }
}

/// Logs which values are absent in a stream for which no list could be evaluated. One of the absent values
/// is the reason.
fn warn_list_failed(sources: &[Source], observation: &Observation<'_>) {
    let absent = sources.iter().enumerate().filter(|(at, _)| observation.bytes(*at).is_empty());
    let absent: Vec<_> = absent.map(|(_, source)| quoted(source.written())).collect();
    warn!(
        "a CEL expression failed, so the attributes of this stream were read one by one, at a higher cost: use \
         has() in the expression that failed, which is one of {} (logged once; tributary_read_one_by_one counts \
         such streams)",
        absent.join(", ")
    );
}

/// Compiles the list of all sources, with guards for the sources in `guarded`. Returns `None` if Envoy does
/// not compile the list.
fn compile(sources: &[Source], guarded: SourceSet) -> Option<Expression> {
    let items = sources.iter().enumerate().map(|(at, source)| {
        if guards::has(guarded, at) { source.guarded.as_str() } else { source.item.as_str() }
    });
    attributes::compile(&list(items)).ok()
}

/// Formats a CEL list of `items`.
fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Reads the result of a list of `count` sources into an observation. Returns false if the result has
/// another format or number of items.
///
/// Envoy 1.40 encodes a list like a map: each item is the name of a pair whose value is empty.
fn read_list<'a>(result: &'a [u8], count: usize, observation: &mut Observation<'a>) -> bool {
    let Some(mut pairs) = Pairs::read(result) else { return false };
    if pairs.announced() != count || count > SOURCES_MAX {
        return false;
    }
    observation.values_mut().iter_mut().take(count).all(|value| {
        *value = pairs.next_name();
        value.is_some()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The result of `['ab', 7, '']` in Envoy 1.40.
    const RESULT: &[u8] =
        b"\x03\0\0\0\x02\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0ab\0\0\x07\0\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn a_list_is_written_and_its_result_is_read() {
        assert_eq!(list(["request.method", "7"].into_iter()), "[request.method, 7]");
        let mut observation = Observation::default();
        assert!(read_list(RESULT, 3, &mut observation));
        assert_eq!(observation.bytes(0), b"ab");
        assert_eq!(observation.integer(1), Some(7));
        assert_eq!([observation.bytes(2), observation.bytes(3)], [b"", b""]);
    }

    #[test]
    fn a_result_in_another_format_is_rejected() {
        let rejected = |result, count| !read_list(result, count, &mut Observation::default());
        assert!(rejected(RESULT, 2), "more items than sources");
        for length in 0..RESULT.len() {
            assert!(rejected(&RESULT[..length], 3), "cut after {length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_result_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..60) {
            let _ = read_list(&bytes, count, &mut Observation::default());
        }
    }
}
