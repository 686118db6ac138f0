//! Transforms a value from Envoy's wire format to an attribute.

use tributary_proto::attributes;
use tributary_proto::otlp::KeyValue;

use crate::path::{Paths, Unmatched};
use crate::workload::WorkloadField;

/// How a value becomes an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Keeps text. An empty text is absent.
    Text,
    /// Keeps an integer.
    Integer,
    /// Keeps a boolean.
    Boolean,
    /// Formats an integer in decimal.
    Decimal,
    /// Keeps a method of RFC 9110 or PATCH. Other methods become `_OTHER` (OpenTelemetry semantic conventions
    /// for HTTP).
    Method,
    /// Keeps the schemes `http` and `https`. Other schemes become `_OTHER`.
    Scheme,
    /// Keeps a status code above 0.
    Status,
    /// Formats a status code in decimal; an absent status code becomes `0` (Istio).
    StatusText,
    /// Returns `error.type` of the semantic conventions. For a status code from 500 on, this is the code;
    /// codes below 500 give no value. For negated response flags, which stand in place of a code, it is the
    /// name of the first flag.
    ErrorType,
    /// Returns the name of the first response flag, whether the number is negated or not. Absent if no flag
    /// is set.
    Flags,
    /// Returns Envoy's short names of the response flags, comma-separated, or `-` if no flag is set.
    FlagsShort,
    /// Removes the port of an address.
    Address,
    /// Removes the first slash of the path of a gRPC request.
    RpcMethod,
    /// Returns the name of a gRPC status (semantic conventions for RPC). A number below 0 contains the
    /// response flags: the name is then CANCELLED if the client closed the stream, otherwise UNKNOWN.
    RpcStatus,
    /// Returns the name of a gRPC status that is a server error. Other statuses are absent.
    RpcError,
    /// Replaces the path of a URL by a pattern.
    Path(Paths),
    /// Selects a field of a workload or service in Istio.
    WorkloadField(Box<WorkloadField>),
}

pub use tributary_proto::attributes::OTHER;

/// The methods in the semantic conventions for HTTP: those of RFC 9110 section 9 and RFC 5789.
static METHODS: [&[u8]; 9] =
    [b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE"];

/// The schemes that Envoy serves. An HTTP/2 client can send any scheme. Envoy's router replaces the scheme,
/// but a request without an upstream keeps it (1.40.0).
static SCHEMES: [&[u8]; 2] = [b"https", b"http"];

/// Response flags by their bit: Envoy's short and long name (`source/common/stream_info/utility.h`, Envoy
/// 1.40). The long names are spelled as the semantic conventions spell identifiers.
static FLAGS: [(&str, &str); 30] = [
    ("LH", "failed_local_health_check"),
    ("UH", "no_healthy_upstream"),
    ("UT", "upstream_request_timeout"),
    ("LR", "local_reset"),
    ("UR", "upstream_remote_reset"),
    ("UF", "upstream_connection_failure"),
    ("UC", "upstream_connection_termination"),
    ("UO", "upstream_overflow"),
    ("NR", "no_route_found"),
    ("DI", "delay_injected"),
    ("FI", "fault_injected"),
    ("RL", "rate_limited"),
    ("UAEX", "unauthorized_external_service"),
    ("RLSE", "rate_limit_service_error"),
    ("DC", "downstream_connection_termination"),
    ("URX", "upstream_retry_limit_exceeded"),
    ("SI", "stream_idle_timeout"),
    ("IH", "invalid_envoy_request_headers"),
    ("DPE", "downstream_protocol_error"),
    ("UMSDR", "upstream_max_stream_duration_reached"),
    ("RFCF", "response_from_cache_filter"),
    ("NFCF", "no_filter_config_found"),
    ("DT", "duration_timeout"),
    ("UPE", "upstream_protocol_error"),
    ("NC", "no_cluster_found"),
    ("OM", "overload_manager"),
    ("DF", "dns_resolution_failed"),
    ("DO", "drop_overload"),
    ("DR", "downstream_remote_reset"),
    ("UDO", "unconditional_drop_overload"),
];

/// Names of gRPC's statuses by their number (gRPC, `doc/statuscodes.md`).
static RPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const RPC_CANCELLED: i64 = 1;
const RPC_UNKNOWN: i64 = 2;

/// The bits of the response flags `DC` and `DR`.
const CLIENT_CLOSED: i64 = 1 << 14 | 1 << 28;

/// The statuses that are server errors (OpenTelemetry semantic conventions for gRPC, server spans).
const RPC_ERRORS: [i64; 6] = [2, 4, 12, 13, 14, 15];

impl Transform {
    /// Appends the transformed value to `out`. Returns false and appends nothing if it is absent.
    // Inlined because it runs for each value of a request. The caller is compiled for speed, but this crate
    // for size.
    #[inline]
    pub fn write(&self, value: &[u8], max_bytes: usize, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        match self {
            Self::Text => out.extend_from_slice(cut(value, max_bytes)),
            Self::Integer => {
                if let Some(number) = integer(value) {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            Self::Boolean => {
                if let [byte] = value {
                    out.push(u8::from(*byte != 0));
                }
            }
            Self::Decimal => {
                if let Some(number) = integer(value) {
                    out.extend_from_slice(number.to_string().as_bytes());
                }
            }
            Self::Method | Self::Scheme if value.is_empty() => {}
            Self::Method => {
                out.extend_from_slice(
                    METHODS.iter().find(|method| **method == value).copied().unwrap_or(OTHER),
                );
            }
            Self::Scheme => {
                out.extend_from_slice(
                    SCHEMES.iter().find(|scheme| **scheme == value).copied().unwrap_or(OTHER),
                );
            }
            Self::Status => {
                if let Some(code) = integer(value).filter(|code| *code > 0) {
                    out.extend_from_slice(&code.to_le_bytes());
                }
            }
            Self::StatusText => {
                let code = integer(value).unwrap_or(0).max(0);
                out.extend_from_slice(code.to_string().as_bytes());
            }
            Self::ErrorType => write_error(integer(value), out),
            Self::Flags => {
                let flags = integer(value).unwrap_or(0);
                if let Some((_, name)) = flags_of(flags).next() {
                    out.extend_from_slice(name.as_bytes());
                }
            }
            Self::FlagsShort => write_short_flags(integer(value).unwrap_or(0), out),
            Self::Address => out.extend_from_slice(cut(without_port(value), max_bytes)),
            Self::RpcMethod => {
                out.extend_from_slice(cut(value.strip_prefix(b"/").unwrap_or(value), max_bytes));
            }
            Self::RpcStatus => {
                if let Some(status) = integer(value).map(rpc_status) {
                    out.extend_from_slice(rpc_status_name(status).as_bytes());
                }
            }
            Self::RpcError => match integer(value).map(rpc_status) {
                Some(status) if RPC_ERRORS.contains(&status) => {
                    out.extend_from_slice(rpc_status_name(status).as_bytes());
                }
                Some(_) => {}
                None => out.extend_from_slice(OTHER),
            },
            Self::Path(paths) => paths.write(value, max_bytes, out),
            Self::WorkloadField(field) => out.extend_from_slice(cut(field.read(value), max_bytes)),
        }
        out.len() > before
    }

    /// Returns whether the number of distinct transformed values is bounded, even if a client invents values.
    pub fn is_bounded(&self) -> bool {
        use Transform::*;
        match self {
            Text | Integer | Decimal | Address | RpcMethod | WorkloadField(_) => false,
            Path(paths) => paths.unmatched == Unmatched::Other,
            Boolean | Method | Scheme | Status | StatusText | ErrorType => true,
            Flags | FlagsShort | RpcStatus | RpcError => true,
        }
    }

    /// Returns whether the transformed values are text.
    pub fn is_text(&self) -> bool {
        !matches!(self, Self::Integer | Self::Boolean | Self::Status)
    }

    /// Returns whether a value is present but has the wrong type.
    pub fn is_mistyped(&self, value: &[u8]) -> bool {
        use Transform::*;
        let length = match self {
            Text | Method | Scheme | Address | RpcMethod | Path(_) | WorkloadField(_) => return false,
            Boolean => 1,
            _ => 8,
        };
        !value.is_empty() && value.len() != length
    }

    /// Creates the attribute of a transformed value. [`OTHER`] is text in every transform.
    pub fn attribute(&self, name: &str, written: &[u8]) -> Option<KeyValue> {
        if self.is_text() || written == OTHER {
            return Some(attributes::text(name, &to_text(written)));
        }
        match written {
            [byte] => Some(attributes::boolean(name, *byte != 0)),
            bytes => Some(attributes::integer(name, i64::from_le_bytes(bytes.try_into().ok()?))),
        }
    }
}

/// Reads an integer in Envoy's wire format.
#[inline]
pub fn integer(value: &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(value.try_into().ok()?))
}

fn write_error(status: Option<i64>, out: &mut Vec<u8>) {
    match status.unwrap_or(0) {
        code if code >= 500 => out.extend_from_slice(code.to_string().as_bytes()),
        code if code > 0 => {}
        flags => {
            let name = flags_of(flags).next().map_or(OTHER, |(_, name)| name.as_bytes());
            out.extend_from_slice(name);
        }
    }
}

fn write_short_flags(flags: i64, out: &mut Vec<u8>) {
    let before = out.len();
    for (name, _) in flags_of(flags) {
        if out.len() > before {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
    }
    if out.len() == before {
        out.push(b'-');
    }
}

/// Parses the comma-separated short names of response flags in Envoy's access logs. Ignores unknown names.
pub fn flags(names: &[u8]) -> i64 {
    let names = names.split(|byte| *byte == b',');
    let bit_of = |name: &[u8]| FLAGS.iter().position(|(short, _)| short.as_bytes() == name);
    names.filter_map(bit_of).fold(0, |flags, bit| flags | 1 << bit)
}

/// Returns the response flags in a number, whether the number is negated or not.
#[inline]
fn flags_of(flags: i64) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let mut bits = flags.unsigned_abs();
    // Visits only the bits that are set, because nearly every request has no flags.
    std::iter::from_fn(move || {
        while bits != 0 {
            let bit = usize::try_from(bits.trailing_zeros()).ok();
            bits &= bits.wrapping_sub(1);
            // Flags of newer versions of Envoy have no name here.
            if let Some(names) = bit.and_then(|bit| FLAGS.get(bit)) {
                return Some(names);
            }
        }
        None
    })
}

/// Returns a gRPC status. If the number is below 0, the status is derived from the response flags in the
/// number.
fn rpc_status(status: i64) -> i64 {
    match status {
        0.. => status,
        // The number is -1 - flags, which equals !flags.
        _ if !status & CLIENT_CLOSED != 0 => RPC_CANCELLED,
        _ => RPC_UNKNOWN,
    }
}

fn rpc_status_name(status: i64) -> &'static str {
    usize::try_from(status).ok().and_then(|status| RPC_STATUSES.get(status)).unwrap_or(&"_OTHER")
}

/// Removes the port of `1.2.3.4:5` and `[::1]:5`. Keeps the path of a Unix socket.
fn without_port(address: &[u8]) -> &[u8] {
    let Some(colon) = address.iter().rposition(|byte| *byte == b':') else { return address };
    let (host, port) = address.split_at(colon);
    let is_port = port.len() > 1 && port.iter().skip(1).all(u8::is_ascii_digit);
    if !is_port || address.first() == Some(&b'/') {
        return address;
    }
    host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host)
}

fn cut(value: &[u8], max_bytes: usize) -> &[u8] {
    value.get(..max_bytes).unwrap_or(value)
}

/// Decodes UTF-8. Invalid bytes become U+FFFD, and an incomplete character at the end is removed.
fn to_text(bytes: &[u8]) -> String {
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        _ => bytes,
    };
    String::from_utf8_lossy(whole).into_owned()
}

#[cfg(test)]
mod tests;
