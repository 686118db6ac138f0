//! Reading a stream's attributes from the host: all at once where it can, one by one where it must.

use log::info;
use tributary_host::attributes::{self, Expression};

use crate::expression;
use crate::observation::Observation;
use crate::plan::Source;

/// Reads the sources of a plan.
#[derive(Debug)]
pub struct Reader {
    /// All sources in one list; none if the host does not compile it.
    list: Option<Expression>,
    /// Paths with NUL between their segments, as properties are asked for.
    paths: Vec<Vec<u8>>,
}

/// How an observation was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In one host call.
    AtOnce,
    /// One host call for each source, since the list failed: some attribute is absent.
    OneByOne,
}

impl Reader {
    /// Compiles the list. The expression belongs to the current root context.
    pub fn new(sources: &[Source]) -> Self {
        let list = attributes::compile(&expression::list(sources));
        if let Err(status) = list {
            info!(
                "this host compiles no CEL list ({status:?}): attributes are read one by one, at a higher cost"
            );
        }
        let paths = sources.iter().map(|source| source.path.replace('.', "\0").into_bytes()).collect();
        Self { list: list.ok(), paths }
    }

    /// Reads the current stream and hands what was seen to `take`.
    pub fn read<T>(&self, take: impl FnOnce(&Observation<'_>, Way) -> T) -> T {
        if let Some(answer) = self.list.and_then(|list| attributes::evaluate(list).ok())
            && let Some(observation) = expression::values(&answer, self.paths.len())
        {
            return take(&observation, Way::AtOnce);
        }
        let values: Vec<_> = self.paths.iter().map(|path| attributes::property(path).ok()).collect();
        let mut observation = Observation::default();
        for (place, value) in observation.places_mut().iter_mut().zip(&values) {
            *place = value.as_deref();
        }
        take(&observation, Way::OneByOne)
    }
}
