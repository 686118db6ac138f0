//! TCP connections by their addresses. OpenTelemetry has no semantic conventions for the metrics of a TCP
//! proxy; attributes have the names of its registry where it has them.

use super::NS_IN_S;
use crate::plan::{MeasureInput, MetricGroup, Plan, Streams};
use crate::source::Source;
use crate::transform::Transform;

/// The most client addresses in a worker: there are as many as clients.
const CLIENTS_MAX: usize = 500;

/// Connections opened and closed, bytes received and sent, and duration, by source, destination and upstream
/// address, by server name (SNI) and by error. Addresses have no ports.
pub(super) fn plan() -> Plan {
    let mut main = MetricGroup::default();
    main.dimension("source.address", Source::attribute("source.address"), Transform::Address);
    main.limit_last(CLIENTS_MAX);
    main.dimension("destination.address", Source::attribute("destination.address"), Transform::Address);
    main.dimension("upstream.address", Source::attribute("upstream.address"), Transform::Address);
    let server_name = Source::attribute("connection.requested_server_name");
    main.dimension("tls.client.server_name", server_name, Transform::Text);
    main.dimension("error.type", Source::attribute("response.flags"), Transform::Flags);
    let (unit, received) = ("{connection}", main.source(Source::attribute("request.size")));
    main.counter("tcp.connections.opened", unit, "TCP connections that were opened.", MeasureInput::Start);
    main.counter("tcp.connections.closed", unit, "TCP connections that were closed.", MeasureInput::End);
    main.counter("tcp.received", "By", "Bytes received from clients.", MeasureInput::Source(received));
    let sent = main.source(Source::attribute("response.size"));
    main.counter("tcp.sent", "By", "Bytes sent to clients.", MeasureInput::Source(sent));
    let start = MeasureInput::TimeSince(main.source(Source::attribute("request.time")));
    main.durations("tcp.connection.duration", ("s", NS_IN_S), "Duration of TCP connections.", start);
    Plan::of(Streams::Tcp, main)
}
