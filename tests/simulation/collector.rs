//! A collector and the network between it and Envoy.

use anyhow::{Context, Result};
use fastrand::Rng;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tributary_host::fake::{FakePost, FakeResponse};
use tributary_tests::scene::{COUNTER, DURATION};
use tributary_tests::sink::Store;

/// A collector and the network between it and Envoy.
pub(crate) struct SimulatedCollector {
    pub(crate) cluster: &'static str,
    /// Whether the collector gets cumulative points. The service may send these again after an unconfirmed
    /// request.
    pub(crate) is_cumulative: bool,
    pub(crate) store: Store,
    pub(crate) fault_mode: CollectorFault,
    /// Exports without an answer so far.
    calls: Vec<Pending>,
    /// Observations in deltas that the collector rejected permanently; the service does not send these
    /// again.
    pub(crate) rejected: u64,
    /// Observations that the service had aggregated and not exported when it trapped.
    pub(crate) lost: u64,
}

/// How the collector and the network behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectorFault {
    /// Stores everything and answers 200.
    Healthy,
    /// Answers with this status, and stores nothing.
    Status(u16),
    /// Stores everything, but answers after Envoy's timeout.
    Late,
    /// Stores everything, and its answer is truncated.
    Truncated,
    /// Stores everything, and answers with random bytes.
    Garbage,
    /// Stores everything, and reports one rejected point.
    PartialSuccess,
    /// No answer ever arrives, neither from the collector nor from Envoy.
    Lost,
}

impl CollectorFault {
    const ALL: [Self; 14] = [
        Self::Healthy,
        Self::Healthy,
        Self::Healthy,
        Self::Status(400),
        Self::Status(429),
        Self::Status(500),
        Self::Status(502),
        Self::Status(503),
        Self::Status(504),
        Self::Late,
        Self::Truncated,
        Self::Garbage,
        Self::PartialSuccess,
        Self::Lost,
    ];

    pub(crate) fn draw(random: &mut Rng) -> Self {
        random.choice(Self::ALL).unwrap()
    }
}

/// An export in flight.
struct Pending {
    call: u32,
    due_ns: u64,
    /// `None` for a call that fails without response headers.
    answer: Option<FakeResponse>,
    /// The request to store together with the answer: deltas are sent again if their answer is lost.
    post: Option<FakePost>,
    /// Whether the collector rejects the request.
    is_rejected: bool,
}

impl SimulatedCollector {
    pub(crate) fn new(cluster: &'static str, is_cumulative: bool) -> Self {
        let (store, fault_mode, calls) = (Store::with_gaps(), CollectorFault::Healthy, Vec::new());
        Self { cluster, is_cumulative, store, fault_mode, calls, rejected: 0, lost: 0 }
    }

    /// Receives an export.
    pub(crate) fn arrived(&mut self, post: FakePost, now: u64, random: &mut Rng) {
        let timeout = u64::try_from(post.timeout.as_nanos()).unwrap();
        let latency = random.u64(0..timeout / 2);
        let is_stored = match self.fault_mode {
            CollectorFault::Status(_) => false,
            CollectorFault::Healthy | CollectorFault::Garbage | CollectorFault::PartialSuccess => true,
            CollectorFault::Late | CollectorFault::Truncated | CollectorFault::Lost => self.is_cumulative,
        };
        let status = |status: &str| Some(FakeResponse::new(status, &[], Vec::new()));
        let with_body =
            |body| Some(FakeResponse::new("200", &[("content-type", "application/x-protobuf")], body));
        let call = post.token;
        let answer = match self.fault_mode {
            CollectorFault::Healthy => status("200"),
            CollectorFault::Status(429) => {
                Some(FakeResponse::new("429", &[("retry-after", "1")], Vec::new()))
            }
            CollectorFault::Status(other) => status(&other.to_string()),
            CollectorFault::Late => status("504"),
            CollectorFault::Truncated | CollectorFault::Lost => None,
            CollectorFault::Garbage => with_body((0..random.usize(0..40)).map(|_| random.u8(..)).collect()),
            // ExportMetricsPartialSuccess { rejected_data_points: 1 }.
            CollectorFault::PartialSuccess => with_body(vec![0x0a, 0x02, 0x08, 0x01]),
        };
        let is_rejected = matches!(self.fault_mode, CollectorFault::Status(400 | 500));
        if is_stored && self.is_cumulative {
            self.take(&post).unwrap();
        }
        let wait = if self.fault_mode == CollectorFault::Late { timeout } else { latency };
        let due_ns = if self.fault_mode == CollectorFault::Lost { u64::MAX } else { now + wait };
        let post = ((is_stored || is_rejected) && !self.is_cumulative).then_some(post);
        self.calls.push(Pending { call, due_ns, answer, post, is_rejected });
    }

    /// Returns the next answer that is due.
    pub(crate) fn respond(&mut self, now: u64) -> Option<(u32, Option<FakeResponse>)> {
        let at = self.calls.iter().position(|call| call.due_ns <= now)?;
        let Pending { call, answer, post, is_rejected, .. } = self.calls.remove(at);
        if let Some(post) = post {
            let before = self.counts().0;
            self.take(&post).unwrap();
            // Rejected deltas are not sent again. The store gets them nevertheless, so that the window of
            // the next deltas follows theirs.
            self.rejected += if is_rejected { self.counts().0 - before } else { 0 };
        }
        Some((call, answer))
    }

    /// Drops all answers in flight: the service that waited for them is gone.
    pub(crate) fn cut_off(&mut self) {
        self.calls.clear();
    }

    /// Counts the received observations, including rejected ones, by the histogram and by the shared counter.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.store.count(DURATION, &[]), self.store.sum(COUNTER, &[]))
    }

    /// Stores metrics that the service logged at shutdown.
    pub(crate) fn replay(&mut self, json: &str) {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        self.store.take_request(&headers, json.as_bytes()).unwrap();
    }

    fn take(&mut self, post: &FakePost) -> Result<()> {
        self.store.take_request(&headers(post)?, &post.body).with_context(|| self.cluster)
    }
}

fn headers(post: &FakePost) -> Result<HeaderMap> {
    let plain = post.headers.iter().filter(|(name, _)| !name.starts_with(':'));
    plain.map(|(name, value)| Ok((HeaderName::try_from(name)?, HeaderValue::try_from(value)?))).collect()
}
