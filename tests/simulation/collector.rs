//! A collector, and the network between it and Envoy.

use anyhow::{Context, Result};
use fastrand::Rng;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tributary_host::fake::{FakeAnswer, FakePost};
use tributary_tests::scene::{COUNTER, DURATION};
use tributary_tests::sink::Store;

/// A collector, and the network between it and Envoy.
pub(crate) struct Collector {
    pub(crate) cluster: &'static str,
    /// Whether what it took and did not confirm does it no harm to get again.
    pub(crate) is_cumulative: bool,
    pub(crate) store: Store,
    pub(crate) fault_mode: FaultMode,
    /// Requests without an answer so far.
    calls: Vec<Pending>,
    /// Requests in deltas that it refused for good: they do not come again.
    pub(crate) refused: u64,
    /// Requests that services had added up and not told it of when they died.
    pub(crate) lost: u64,
}

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultMode {
    /// It takes everything.
    Healthy,
    /// It answers with this status, and takes nothing.
    Status(u16),
    /// It takes everything, after Envoy has given up on it.
    Late,
    /// It takes everything, and its answer breaks off.
    BreaksOff,
    /// It takes everything, and says something senseless.
    Garbage,
    /// It takes everything, and says that it rejected a point.
    PartialSuccess,
    /// No answer of it, nor one of Envoy's own, ever comes back.
    Lost,
}

impl FaultMode {
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
        Self::BreaksOff,
        Self::Garbage,
        Self::PartialSuccess,
        Self::Lost,
    ];

    pub(crate) fn draw(random: &mut Rng) -> Self {
        random.choice(Self::ALL).unwrap()
    }
}

/// A request on its way.
struct Pending {
    call: u32,
    due_ns: u64,
    answer: FakeAnswer,
    with_headers: bool,
    /// What is taken with the answer, not before: deltas that Envoy believes lost come again.
    post: Option<FakePost>,
    /// Whether it is refused then.
    is_refused: bool,
}

impl Collector {
    pub(crate) fn new(cluster: &'static str, is_cumulative: bool) -> Self {
        let (store, fault_mode, calls) = (Store::with_gaps(), FaultMode::Healthy, Vec::new());
        Self { cluster, is_cumulative, store, fault_mode, calls, refused: 0, lost: 0 }
    }

    /// A request arrives.
    pub(crate) fn arrived(&mut self, post: FakePost, now: u64, random: &mut Rng) {
        let timeout = u64::try_from(post.timeout.as_nanos()).unwrap();
        let latency = random.u64(0..timeout / 2);
        let is_taken = match self.fault_mode {
            FaultMode::Status(_) => false,
            FaultMode::Healthy | FaultMode::Garbage | FaultMode::PartialSuccess => true,
            FaultMode::Late | FaultMode::BreaksOff | FaultMode::Lost => self.is_cumulative,
        };
        let status = |status: u16| vec![(":status".to_owned(), status.to_string().into_bytes())];
        let kind = |body: Vec<u8>| {
            let mut headers = status(200);
            headers.push(("content-type".to_owned(), b"application/x-protobuf".to_vec()));
            (headers, body)
        };
        let call = post.token;
        let (headers, body) = match self.fault_mode {
            FaultMode::Healthy => (status(200), Vec::new()),
            FaultMode::Status(429) => {
                let mut headers = status(429);
                headers.push(("retry-after".to_owned(), b"1".to_vec()));
                (headers, Vec::new())
            }
            FaultMode::Status(other) => (status(other), Vec::new()),
            FaultMode::Late => (status(504), Vec::new()),
            FaultMode::BreaksOff | FaultMode::Lost => (Vec::new(), Vec::new()),
            FaultMode::Garbage => kind((0..random.usize(0..40)).map(|_| random.u8(..)).collect()),
            // ExportMetricsPartialSuccess { rejected_data_points: 1 }.
            FaultMode::PartialSuccess => kind(vec![0x0a, 0x02, 0x08, 0x01]),
        };
        let is_refused = matches!(self.fault_mode, FaultMode::Status(400 | 500));
        if is_taken && self.is_cumulative {
            self.take(&post).unwrap();
        }
        let wait = if self.fault_mode == FaultMode::Late { timeout } else { latency };
        let due_ns = if self.fault_mode == FaultMode::Lost { u64::MAX } else { now + wait };
        let answer = FakeAnswer { headers: headers.into_iter().collect(), body };
        let post = ((is_taken || is_refused) && !self.is_cumulative).then_some(post);
        let with_headers = self.fault_mode != FaultMode::BreaksOff;
        self.calls.push(Pending { call, due_ns, answer, with_headers, post, is_refused });
    }

    /// The next answer that is due.
    pub(crate) fn answer(&mut self, now: u64) -> Option<(u32, FakeAnswer, bool)> {
        let at = self.calls.iter().position(|call| call.due_ns <= now)?;
        let Pending { call, answer, with_headers, post, is_refused, .. } = self.calls.remove(at);
        if let Some(post) = post {
            let before = self.counts().0;
            self.take(&post).unwrap();
            // Deltas that will not come again. They are remembered all the same: what comes next goes on where they ended.
            self.refused += if is_refused { self.counts().0 - before } else { 0 };
        }
        Some((call, answer, with_headers))
    }

    /// The service is gone, and with it whoever waited for answers.
    pub(crate) fn cut_off(&mut self) {
        self.calls.clear();
    }

    /// Requests that it was told of, by the histogram and by the counter in shared data; those that it refused are among them.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.store.count(DURATION, &[]), self.store.sum(COUNTER, &[]))
    }

    /// Somebody brings it what was left in the log.
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
