//! What went on in a simulation: one in which nothing goes wrong would find nothing.

/// How often things happened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Happened {
    pub(crate) requests: u64,
    pub(crate) workers_ended: u64,
    pub(crate) workers_trapped: u64,
    pub(crate) services_trapped: u64,
    pub(crate) dropped: u64,
    pub(crate) held_back: u64,
    pub(crate) overflows: u64,
    pub(crate) missing: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    pub(crate) exports: u64,
    pub(crate) exports_failed: u64,
    pub(crate) clock_went_back: u64,
    pub(crate) series_ended: u64,
    pub(crate) farewells: u64,
}

impl Happened {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.all_mut().into_iter().zip(other.clone().all_mut()) {
            *sum += *more;
        }
    }

    /// Whether everything happened that can.
    pub(crate) fn is_eventful(&self) -> bool {
        self.clone().all_mut().into_iter().all(|count| *count > 0)
    }

    fn all_mut(&mut self) -> [&mut u64; 15] {
        let Self {
            requests,
            workers_ended,
            workers_trapped,
            services_trapped,
            dropped,
            held_back,
            overflows,
            missing,
            duplicates,
            refused,
            exports,
            exports_failed,
            clock_went_back,
            series_ended,
            farewells,
        } = self;
        [
            requests,
            workers_ended,
            workers_trapped,
            services_trapped,
            dropped,
            held_back,
            overflows,
            missing,
            duplicates,
            refused,
            exports,
            exports_failed,
            clock_went_back,
            series_ended,
            farewells,
        ]
    }
}
