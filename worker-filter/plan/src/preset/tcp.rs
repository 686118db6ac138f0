//! TCP connections, by who talks to whom. There are no semantic conventions for a TCP proxy's metrics; attributes have the
//! conventions' names where there are any.

use super::NS_IN_S;
use crate::form::Form;
use crate::plan::{Part, Plan, Streams, Value};
use crate::source::Source;

/// Distinct client addresses that a worker keeps apart: there are as many as there are clients.
const CLIENTS_MAX: usize = 500;

/// Connections opened and closed, bytes received and sent, and duration, by source, destination and upstream address, by
/// server name (SNI) and by error. Addresses have no ports.
pub(super) fn plan() -> Plan {
    let mut main = Part::default();
    main.dimension("source.address", Source::attribute("source.address"), Form::Address);
    main.limit_last(CLIENTS_MAX);
    main.dimension("destination.address", Source::attribute("destination.address"), Form::Address);
    main.dimension("upstream.address", Source::attribute("upstream.address"), Form::Address);
    let server_name = Source::attribute("connection.requested_server_name");
    main.dimension("tls.client.server_name", server_name, Form::Text);
    main.dimension("error.type", Source::attribute("response.flags"), Form::Flags);
    let (unit, received) = ("{connection}", main.source(Source::attribute("request.size")));
    main.counter("tcp.connections.opened", unit, "TCP connections that were opened.", Value::Opened);
    main.counter("tcp.connections.closed", unit, "TCP connections that were closed.", Value::One);
    main.counter("tcp.received", "By", "Bytes received from clients.", Value::Of(received));
    let sent = main.source(Source::attribute("response.size"));
    main.counter("tcp.sent", "By", "Bytes sent to clients.", Value::Of(sent));
    let start = Value::Since(main.source(Source::attribute("request.time")));
    main.durations("tcp.connection.duration", ("s", NS_IN_S), "Duration of TCP connections.", start);
    Plan::of(Streams::Tcp, main)
}
