//! Metrics of TCP connections by their addresses. OpenTelemetry has no semantic conventions for the metrics
//! of a TCP proxy. Attributes have their names from OpenTelemetry's attribute registry if the registry
//! defines such an attribute.

use tributary_proto::metric::Kind;

use super::{BYTES, DURATION_BOUNDS, SECONDS, histogram};
use crate::plan::{MeasureInput, MetricGroup, Plan, Streams};
use crate::source::Source;
use crate::transform::Transform;

/// The maximum number of distinct addresses of each kind in a worker. Every client has its own source
/// address, and with a transparent proxy a client also chooses the other addresses.
const ADDRESSES_MAX: usize = 500;

/// The maximum number of distinct server names in a worker, because a client can send any server name.
const SERVER_NAMES_MAX: usize = 100;

const CONNECTIONS: (&str, u64) = ("{connection}", 1);

/// Returns the plan for the numbers of opened and closed connections, received and sent bytes, and
/// durations. Dimensions are the source, destination and upstream address, the server name (SNI) and the
/// error. Addresses have no ports.
pub(super) fn plan() -> Plan {
    let mut main = MetricGroup::default();
    for name in ["source.address", "destination.address", "upstream.address"] {
        main.limited_dimension(name, Source::attribute(name), Transform::Address, ADDRESSES_MAX);
    }
    let server_name = Source::attribute("connection.requested_server_name");
    main.limited_dimension("tls.client.server_name", server_name, Transform::Text, SERVER_NAMES_MAX);
    main.dimension("error.type", Source::attribute("response.flags"), Transform::Flags);
    let received = MeasureInput::Source(main.source(Source::attribute("request.size")));
    let sent = MeasureInput::Source(main.source(Source::attribute("response.size")));
    let start = MeasureInput::TimeSince(main.source(Source::attribute("request.time")));
    for &(name, unit, description, input) in &[
        ("tcp.connections.opened", CONNECTIONS, "TCP connections that were opened.", MeasureInput::Start),
        ("tcp.connections.closed", CONNECTIONS, "TCP connections that were closed.", MeasureInput::End),
        ("tcp.received", BYTES, "Bytes received from clients.", received),
        ("tcp.sent", BYTES, "Bytes sent to clients.", sent),
    ] {
        main.measure(name, unit, description, Kind::Counter, input);
    }
    let (name, description) = ("tcp.connection.duration", "Duration of TCP connections.");
    main.measure(name, SECONDS, description, histogram(&DURATION_BOUNDS), start);
    Plan::of(Streams::Tcp, main)
}
