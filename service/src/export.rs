//! Export: from the table to collectors. Each destination has an [`Exporter`], and one request in flight.
//!
//! 1. [`delivery`] decides whether an export is due and where in the table it starts. It uses an
//!    [`attempt`] and a [`Backoff`].
//! 2. A [`slice`](mod@slice) of the table is converted to [`points`] for the destination.
//! 3. The points are encoded ([`Encoding`]) under the [`Resource`] and compressed, and the [`ExportRequest`]
//!    grows by 100 rows at a time.
//! 4. The request is sent. Its [`response`] decides what follows: the next slice, a retry, or a drop.
//! 5. The [`ledger`] and the status of the exporter record the result, and [`self_metrics`] export it.
//!
//! A [`snapshot`] gives the console the same points; [`shutdown`] logs what was not exported.

pub mod attempt;
pub mod backoff;
pub mod compress;
pub mod delivery;
pub mod destination;
pub mod encode;
pub mod exporter;
pub mod ledger;
pub mod points;
pub mod request;
pub mod resource;
pub mod response;
pub mod self_metrics;
pub mod shutdown;
pub mod slice;
pub mod snapshot;

pub use backoff::Backoff;
pub use compress::{Compression, Compressor};
pub use destination::DestinationConfig;
pub use encode::{Encoded, Encoding, SizeHint};
pub use exporter::{CycleStart, ExportContext, Exporter, PART_ROWS};
pub use points::{MetricPoints, Temporality};
pub use request::ExportRequest;
pub use resource::Resource;
pub use slice::{Slice, SliceLimits, slice};
