//! Every cap that both sides share, and how the caps hold together. What is done at a cap is said where it is applied.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Name of the queue that carries observations of HTTP streams.
pub const QUEUE_HTTP: &str = "http";
/// Name of the queue that carries observations of TCP connections.
pub const QUEUE_TCP: &str = "tcp";

/// Statistics of Envoy by which workers know how many batches wait in the queue, which the host tells nobody: those that were
/// put in, and those that are no longer there.
pub const BATCHES_ENQUEUED: &str = "tributary_batches_enqueued";
/// See [`BATCHES_ENQUEUED`].
pub const BATCHES_DEQUEUED: &str = "tributary_batches_dequeued";

/// Bytes of one batch at which a worker begins another.
///
/// The main thread takes a batch in one piece, so this bounds its longest step: 128 KiB hold about 700 series of one
/// histogram and five attributes, and take it 0.8 ms, or 1.3 ms if all of them are new.
pub const BATCH_BYTES: usize = 128 * 1024;
/// Bytes of a batch that the service still reads. One series past [`BATCH_BYTES`] always fits under it.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;

/// Groups in one batch.
pub const GROUPS_MAX: usize = 16;
/// Metrics in one group.
pub const METRICS_MAX: usize = 64;
/// Bounds of one histogram.
pub const BOUNDS_MAX: usize = 256;
/// Buckets of an exponential histogram where nothing else is said (OpenTelemetry metrics SDK specification, "MaxSize").
pub const EXPONENTIAL_SIZE_DEFAULT: usize = 160;
/// The least that an exponential histogram may have: at the coarsest scale, two buckets hold every value.
pub const EXPONENTIAL_SIZE_MIN: usize = 2;
/// The most that it may have.
pub const EXPONENTIAL_SIZE_MAX: usize = 256;
/// Attributes of one series.
pub const ATTRIBUTES_MAX: usize = 32;
/// Bytes of a metric's name; the OpenTelemetry API allows 255 characters.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a unit; the OpenTelemetry API allows 63 characters.
pub const UNIT_BYTES_MAX: usize = 63;
/// Bytes of a metric's description.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;
/// Bytes of one attribute's key.
pub const ATTRIBUTE_KEY_BYTES_MAX: usize = 255;
/// Bytes of one attribute's value; what is longer is cut at a character's end.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 1024;

/// Counters in shared data. The host can neither delete nor list keys, so the set must be small and fixed.
pub const COUNTERS_MAX: usize = 64;
/// Bytes of a counter's key.
pub const COUNTER_KEY_BYTES_MAX: usize = 128;

/// Series of one metric before further ones are counted in its overflow series: the default cardinality limit of the
/// OpenTelemetry SDK specification.
pub const SERIES_DEFAULT: usize = 2_000;
/// The most series that a configuration may ask for.
pub const SERIES_MAX: usize = 1_000_000;

/// How often a worker flushes by default.
pub const FLUSH_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// How often a worker may flush.
pub const FLUSH_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(300);

/// Bytes of a plugin's configuration. Envoy has no limit of its own.
pub const CONFIGURATION_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of one exemplar in a batch.
const EXEMPLAR_BYTES_MAX: usize = 64;

const _: () = assert!(
    METRICS_MAX * (NAME_BYTES_MAX + UNIT_BYTES_MAX + DESCRIPTION_BYTES_MAX) < BATCH_BYTES,
    "the metrics' definitions alone must not fill a batch"
);
const _: () = assert!(
    ATTRIBUTES_MAX * (ATTRIBUTE_KEY_BYTES_MAX + ATTRIBUTE_VALUE_BYTES_MAX)
        + METRICS_MAX * (BOUNDS_MAX * 10 + EXEMPLAR_BYTES_MAX)
        < BATCH_BYTES_MAX - BATCH_BYTES
        && EXPONENTIAL_SIZE_MAX <= BOUNDS_MAX,
    "the largest series must fit into what lies between the two limits of a batch"
);
