//! The limits that several crates share, and the relations between them. The code that applies a limit
//! documents what happens at the limit.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The name of the queue for HTTP streams.
pub const QUEUE_HTTP: &str = "http";
/// The name of the queue for TCP connections.
pub const QUEUE_TCP: &str = "tcp";

/// The name of the statistic that counts the batches that workers enqueued. Its difference to
/// [`BATCHES_DEQUEUED`] is the length of the queue, which Envoy does not expose.
pub const BATCHES_ENQUEUED: &str = "tributary_batches_enqueued";
/// The name of the statistic that counts the batches that are no longer in the queue.
pub const BATCHES_DEQUEUED: &str = "tributary_batches_dequeued";

/// The size at which a worker starts the next batch, in bytes.
///
/// The main thread aggregates a batch in one step, so this size bounds the longest step. 128 KiB hold about
/// 700 series with one histogram and five attributes. They take 0.8 ms, or 1.3 ms if all series are new.
pub const BATCH_BYTES: usize = 128 * 1024;
/// The maximum number of bytes of a batch. A batch of [`BATCH_BYTES`] and one more series always fits.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;

/// The maximum number of groups in a batch.
pub const GROUPS_MAX: usize = 16;
/// The maximum number of metrics in a group, which is also the maximum for a worker's configuration.
pub const GROUP_METRICS_MAX: usize = 64;
/// The maximum number of metrics from one origin in the service's table. The origins are all workers
/// together, shared data, and the service itself.
pub const METRICS_PER_ORIGIN_MAX: usize = 256;
/// The maximum number of bounds of a histogram.
pub const BOUNDS_MAX: usize = 256;
/// The default size of an exponential histogram, in buckets (OpenTelemetry metrics SDK specification,
/// "MaxSize").
pub const EXPONENTIAL_SIZE_DEFAULT: usize = 160;
/// The smallest size of an exponential histogram: at the coarsest scale, two buckets hold every value.
pub const EXPONENTIAL_SIZE_MIN: usize = 2;
/// The greatest size of an exponential histogram.
pub const EXPONENTIAL_SIZE_MAX: usize = 256;
/// The maximum number of attributes of a series.
pub const ATTRIBUTES_MAX: usize = 32;
/// The maximum number of bytes of a metric's name; the OpenTelemetry API allows 255 characters.
pub const NAME_BYTES_MAX: usize = 255;
/// The maximum number of bytes of a unit; the OpenTelemetry API allows 63 characters.
pub const UNIT_BYTES_MAX: usize = 63;
/// The maximum number of bytes of a metric's description.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;
/// The maximum number of bytes of an attribute's key.
pub const ATTRIBUTE_KEY_BYTES_MAX: usize = 255;
/// The maximum number of bytes of an attribute's value. A longer value is truncated at a character
/// boundary.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 1024;

/// The maximum number of counters in shared data. Envoy can neither delete nor list keys, so the set must
/// be small and fixed.
pub const COUNTERS_MAX: usize = 64;
/// The maximum number of bytes of a counter's key.
pub const COUNTER_KEY_BYTES_MAX: usize = 128;

/// The default limit of series. Further series are counted in the overflow series. The value is the default
/// cardinality limit of the OpenTelemetry SDK specification.
pub const SERIES_DEFAULT: usize = 2_000;
/// The greatest limit of series.
pub const SERIES_MAX: usize = 1_000_000;

/// The default interval between two flushes of a worker.
pub const FLUSH_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// The allowed intervals between two flushes of a worker.
pub const FLUSH_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(300);

/// The maximum number of bytes of a plugin's configuration. Envoy itself has no such limit.
pub const CONFIGURATION_BYTES_MAX: usize = 1024 * 1024;

/// The maximum number of bytes of an exemplar in a batch.
const EXEMPLAR_BYTES_MAX: usize = 64;

const _: () = assert!(
    GROUP_METRICS_MAX * (NAME_BYTES_MAX + UNIT_BYTES_MAX + DESCRIPTION_BYTES_MAX) < BATCH_BYTES,
    "the metrics of a group must not fill a batch"
);
const _: () = assert!(
    ATTRIBUTES_MAX * (ATTRIBUTE_KEY_BYTES_MAX + ATTRIBUTE_VALUE_BYTES_MAX)
        + GROUP_METRICS_MAX * (BOUNDS_MAX * 10 + EXEMPLAR_BYTES_MAX)
        < BATCH_BYTES_MAX - BATCH_BYTES
        && EXPONENTIAL_SIZE_MAX <= BOUNDS_MAX,
    "the largest series must fit between the two limits of a batch"
);
