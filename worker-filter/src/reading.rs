//! Reading a stream's values from the host: all at once where it can, one by one where it must.

use log::warn;
use tributary_host::Status;
use tributary_host::attributes::{self, Expression};
use tributary_proto::config::quoted;

use crate::expression;
use crate::guards::{self, Guards, Set};
use crate::observation::Observation;
use tributary_plan::choice::Choice;
use tributary_plan::source::{Alone, Source};

/// Reads the sources of a part.
#[derive(Debug)]
pub struct Reader {
    sources: Vec<Source>,
    guards: Guards,
    /// All sources in one list, which fails where one is absent that seldom is; none if the host does not compile it.
    plain: Option<Expression>,
    /// All sources in one list that costs more and fails less.
    guarded: Option<Expression>,
    alone: Vec<One>,
    caution: Caution,
    /// Whether it was said what a stream did not have that was read one by one.
    told: bool,
}

/// How an observation was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In one host call, or in a second one after a first that failed.
    AtOnce,
    /// One host call for each source, since no list could be had: an expression failed for this stream.
    OneByOne,
}

/// An expression that the host does not compile: its place among the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which source.
    pub source: usize,
    /// What the host said.
    pub status: Status,
}

#[derive(Debug)]
enum One {
    Property(Vec<u8>),
    Expression(Expression),
    Choice(&'static Choice),
    /// An expression on a host that has none.
    Nothing,
}

/// Which list to try first: after a failure of the plain one, the guarded one for a few streams, for longer the more often
/// the plain one fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Caution(u32);

impl Caution {
    /// Streams that one failure makes take the guarded list: a failed list costs about as much as five guarded ones cost
    /// more than plain ones.
    const STEP: u32 = 5;
    const MAX: u32 = 500;

    fn is_due(self) -> bool {
        self.0 > 0
    }

    fn failed(&mut self) {
        self.0 = self.0.saturating_add(Self::STEP).min(Self::MAX);
    }

    fn passed(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
}

impl Reader {
    /// Compiles the lists, and each expression by itself. They belong to the current root context.
    ///
    /// # Errors
    /// The host compiles expressions, and refuses one.
    pub fn new(sources: &[Source]) -> Result<Self, Refused> {
        // First by themselves: the host logs why it refuses one, and that reads best of what a person wrote.
        let mut alone = Vec::with_capacity(sources.len());
        for (at, source) in sources.iter().enumerate() {
            alone.push(match &source.alone {
                Alone::Property(path) => One::Property(path.clone()),
                Alone::Expression(text) => match attributes::compile(text) {
                    Ok(expression) => One::Expression(expression),
                    Err(Status::NotFound) => One::Nothing,
                    Err(status) => return Err(Refused { source: at, status }),
                },
                Alone::Choice(choice) => One::Choice(choice),
            });
        }
        let guards = Guards::new(sources);
        let plain = compile(sources, guards.guarded());
        let guarded = attributes::compile(&expression::list(sources.iter().map(|source| &*source.guarded)));
        let (sources, guarded, caution) = (sources.to_vec(), guarded.ok(), Caution::default());
        Ok(Self { sources, guards, plain, guarded, alone, caution, told: false })
    }

    /// Whether the host compiles lists: without them it costs more.
    pub fn has_lists(&self) -> bool {
        self.plain.is_some() && self.guarded.is_some()
    }

    /// Makes the list anew that is tried first, if what was absent of late is not what it guards. For ticks: compiling costs
    /// more than many streams.
    pub fn tune(&mut self) {
        if let Some(old) = self.plain
            && let Some(set) = self.guards.decide()
            && let Some(list) = compile(&self.sources, set)
        {
            attributes::forget(old);
            self.plain = Some(list);
            self.guards.adopt(set);
            self.caution = Caution::default();
        }
    }

    /// Reads the current stream and hands what was seen to `take`.
    pub fn read<T>(&mut self, take: impl FnOnce(&Observation<'_>, Way) -> T) -> T {
        let count = self.alone.len();
        let mut answer = None;
        let mut set = self.guards.guarded();
        if !self.caution.is_due() {
            answer = self.plain.and_then(|list| attributes::evaluate(list).ok());
            if answer.is_none() {
                self.caution.failed();
            }
        }
        if answer.is_none() {
            self.caution.passed();
            set = self.guards.all();
            answer = self.guarded.and_then(|list| attributes::evaluate(list).ok());
        }
        let mut observation = Observation::default();
        if let Some(answer) = &answer
            && expression::read(answer, count, &mut observation)
        {
            self.guards.unmark(set, &mut observation);
            return take(&observation, Way::AtOnce);
        }
        let has_lists = self.has_lists();
        let mut told = self.told || !has_lists;
        let sources = &self.sources;
        let taken = self.read_each(
            |expression| attributes::evaluate(expression).ok(),
            |observation| {
                if !std::mem::replace(&mut told, true) {
                    tell(sources, observation);
                }
                take(observation, Way::OneByOne)
            },
        );
        self.told = told;
        taken
    }

    /// Reads a stream that was entered on a tick and hands what was seen to `take`. Expressions have no value there: Envoy
    /// evaluates them for the context that it called, which is not the stream's (1.36.4, 1.40.0).
    pub fn read_entered<T>(&self, take: impl FnOnce(&Observation<'_>) -> T) -> T {
        self.read_each(|_| None, take)
    }

    fn read_each<T>(
        &self,
        evaluate: impl Fn(Expression) -> Option<Vec<u8>>,
        take: impl FnOnce(&Observation<'_>) -> T,
    ) -> T {
        let read = |one: &One| match one {
            One::Property(path) => attributes::property(path).ok(),
            One::Expression(expression) => evaluate(*expression),
            One::Choice(choice) => choice.read(&|path| attributes::property(path.as_bytes()).ok()),
            One::Nothing => None,
        };
        let values: Vec<_> = self.alone.iter().map(read).collect();
        let mut observation = Observation::default();
        for (place, value) in observation.places_mut().iter_mut().zip(&values) {
            *place = value.as_deref();
        }
        take(&observation)
    }
}

/// Says what a stream did not have for which no list could be evaluated: one of these is why.
fn tell(sources: &[Source], observation: &Observation<'_>) {
    let absent = sources.iter().enumerate().filter(|(at, _)| observation.bytes(*at).is_empty());
    let absent: Vec<_> = absent.map(|(_, source)| quoted(source.written())).collect();
    warn!(
        "Envoy cannot evaluate all that is asked of a stream at once, so it is asked for one by one, at a higher cost; there is \
         no value of {} (said once; the statistic tributary_read_one_by_one counts)",
        absent.join(", ")
    );
}

/// The list of all sources, these ones guarded; none if the host does not compile it.
fn compile(sources: &[Source], guarded: Set) -> Option<Expression> {
    let item = |(at, source): (usize, &'_ Source)| {
        let with_guard = guards::has(guarded, at);
        if with_guard { source.guarded.clone() } else { source.item.clone() }
    };
    let items: Vec<_> = sources.iter().enumerate().map(item).collect();
    attributes::compile(&expression::list(items.iter().map(String::as_str))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guarded_list_is_tried_first_for_as_long_as_the_plain_one_fails_often() {
        let mut caution = Caution::default();
        let mut failures = 0;
        for _ in 0..1_000 {
            if caution.is_due() {
                caution.passed();
            } else {
                failures += 1;
                caution.failed();
                caution.passed();
            }
        }
        assert_eq!(failures, 200, "one failure in five streams that would all have failed");
        (0..1_000).for_each(|_| caution.failed());
        (0..Caution::MAX).for_each(|_| caution.passed());
        assert!(!caution.is_due(), "the plain list gets another chance");
    }
}
