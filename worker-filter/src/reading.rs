//! Reads the values of a stream: all in one CEL list if possible, otherwise one by one.

use log::warn;
use tributary_host::Status;
use tributary_host::attributes::{self, Expression};
use tributary_proto::config::quoted;

use crate::expression;
use crate::guards::{self, Guards, SourceSet};
use crate::observation::Observation;
use tributary_plan::fallback::FallbackChain;
use tributary_plan::source::{FallbackRead, Source};

/// Reads the sources of a metric group.
#[derive(Debug)]
pub struct Reader {
    sources: Vec<Source>,
    guards: Guards,
    /// The list that is cheap, but fails if a value without a guard is absent. `None` if Envoy does not
    /// compile it.
    plain: Option<Expression>,
    /// The list in which every source has its guard: it costs more and fails less.
    guarded: Option<Expression>,
    singles: Vec<SingleRead>,
    penalty: PlainListPenalty,
    /// Whether a failed list was logged.
    warned: bool,
}

/// How the values of an observation were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// By a list.
    List,
    /// By one host call for each source, because no list could be evaluated.
    OneByOne,
}

/// An expression that Envoy rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadExpression {
    /// The source with the expression.
    pub source: Source,
    /// Envoy's answer.
    pub status: Status,
}

/// How one source is read without a list.
#[derive(Debug)]
enum SingleRead {
    Property(Vec<u8>),
    Expression(Expression),
    Chain(&'static FallbackChain),
    /// An expression, but Envoy has no support for them.
    Unsupported,
}

/// The number of streams for which the guarded list is tried first. It grows with each failure of the plain
/// list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PlainListPenalty(u32);

impl PlainListPenalty {
    /// The streams that one failure adds: a failed list costs about as much as five guarded lists cost more
    /// than plain ones.
    const STEP: u32 = 5;
    const MAX: u32 = 500;

    fn is_active(self) -> bool {
        self.0 > 0
    }

    fn increase(&mut self) {
        self.0 = self.0.saturating_add(Self::STEP).min(Self::MAX);
    }

    fn decrease(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
}

impl Reader {
    /// Compiles the lists and each expression by itself, in the current root context.
    ///
    /// # Errors
    /// Envoy compiles expressions, but rejects one of these.
    pub fn new(sources: &[Source]) -> Result<Self, BadExpression> {
        // Before the lists: Envoy logs why it rejects an expression, and alone it reads as it was configured.
        let mut singles = Vec::with_capacity(sources.len());
        for source in sources {
            singles.push(match &source.fallback {
                FallbackRead::Property(path) => SingleRead::Property(path.clone()),
                FallbackRead::Expression(text) => match attributes::compile(text) {
                    Ok(expression) => SingleRead::Expression(expression),
                    Err(Status::NotFound) => SingleRead::Unsupported,
                    Err(status) => return Err(BadExpression { source: source.clone(), status }),
                },
                FallbackRead::Chain(choice) => SingleRead::Chain(choice),
            });
        }
        let guards = Guards::new(sources);
        let plain = compile(sources, guards.guarded());
        let guarded = attributes::compile(&expression::list(sources.iter().map(|source| &*source.guarded)));
        let (sources, guarded, penalty) = (sources.to_vec(), guarded.ok(), PlainListPenalty::default());
        Ok(Self { sources, guards, plain, guarded, singles, penalty, warned: false })
    }

    /// Returns whether Envoy compiled the lists: without them a stream costs more.
    pub fn has_lists(&self) -> bool {
        self.plain.is_some() && self.guarded.is_some()
    }

    /// Compiles the plain list again if other values should have guards, given which were absent recently.
    /// For ticks: compiling costs more than many streams.
    pub fn adapt_guards(&mut self) {
        if let Some(old) = self.plain
            && let Some(guarded) = self.guards.decide()
            && let Some(list) = compile(&self.sources, guarded)
        {
            attributes::forget(old);
            self.plain = Some(list);
            self.guards.set_guarded(guarded);
            self.penalty = PlainListPenalty::default();
        }
    }

    /// Reads the current stream and calls `observe` with its values.
    pub fn read<T>(&mut self, observe: impl FnOnce(&Observation<'_>, ReadMode) -> T) -> T {
        let mut values = None;
        let mut guarded = self.guards.guarded();
        if !self.penalty.is_active() {
            values = self.plain.and_then(|list| attributes::evaluate(list).ok());
            if values.is_none() {
                self.penalty.increase();
            }
        }
        if values.is_none() {
            self.penalty.decrease();
            guarded = self.guards.all();
            values = self.guarded.and_then(|list| attributes::evaluate(list).ok());
        }
        let mut observation = Observation::default();
        if let Some(values) = &values
            && expression::read(values, self.singles.len(), &mut observation)
        {
            self.guards.clear_absent(guarded, &mut observation);
            return observe(&observation, ReadMode::List);
        }
        let should_warn = self.has_lists() && !self.warned;
        self.warned |= should_warn;
        let sources = &self.sources;
        self.read_each(
            |expression| attributes::evaluate(expression).ok(),
            |observation| {
                if should_warn {
                    warn_list_failed(sources, observation);
                }
                observe(observation, ReadMode::OneByOne)
            },
        )
    }

    /// Reads a stream that was entered on a tick and calls `observe` with its values. Expressions are absent:
    /// Envoy evaluates them for the context that it called, which is not the stream's (1.36.4, 1.40.0).
    pub fn read_entered<T>(&self, observe: impl FnOnce(&Observation<'_>) -> T) -> T {
        self.read_each(|_| None, observe)
    }

    fn read_each<T>(
        &self,
        evaluate: impl Fn(Expression) -> Option<Vec<u8>>,
        observe: impl FnOnce(&Observation<'_>) -> T,
    ) -> T {
        let read = |single: &SingleRead| match single {
            SingleRead::Property(path) => attributes::property(path).ok(),
            SingleRead::Expression(expression) => evaluate(*expression),
            SingleRead::Chain(choice) => choice.read(&|path| attributes::property(path.as_bytes()).ok()),
            SingleRead::Unsupported => None,
        };
        let values: Vec<_> = self.singles.iter().map(read).collect();
        let mut observation = Observation::default();
        for (place, value) in observation.values_mut().iter_mut().zip(&values) {
            *place = value.as_deref();
        }
        observe(&observation)
    }
}

/// Logs the values that are absent in a stream for which no list could be evaluated: one of them is the
/// reason.
fn warn_list_failed(sources: &[Source], observation: &Observation<'_>) {
    let absent = sources.iter().enumerate().filter(|(at, _)| observation.bytes(*at).is_empty());
    let absent: Vec<_> = absent.map(|(_, source)| quoted(source.written())).collect();
    warn!(
        "Envoy cannot evaluate the list of all attributes for a stream, so they are read one by one, at a higher cost per \
         request: guard the expression that fails with has(). No value for {} (logged once; the statistic \
         tributary_read_one_by_one counts such streams)",
        absent.join(", ")
    );
}

/// Compiles the list of all sources, with guards for a set of them. `None` if Envoy does not compile it.
fn compile(sources: &[Source], guarded: SourceSet) -> Option<Expression> {
    let items = sources.iter().enumerate().map(|(at, source)| {
        if guards::has(guarded, at) { source.guarded.as_str() } else { source.item.as_str() }
    });
    attributes::compile(&expression::list(items)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guarded_list_is_tried_first_while_the_plain_one_fails_often() {
        let mut penalty = PlainListPenalty::default();
        let mut failures = 0;
        for _ in 0..1_000 {
            if !penalty.is_active() {
                failures += 1;
                penalty.increase();
            }
            penalty.decrease();
        }
        assert_eq!(failures, 200, "one failure in five streams that would all have failed");
        (0..1_000).for_each(|_| penalty.increase());
        (0..PlainListPenalty::MAX).for_each(|_| penalty.decrease());
        assert!(!penalty.is_active(), "the plain list is tried again");
    }
}
