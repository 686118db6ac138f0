//! The statuses that Envoy answers a call with.

use proxy_wasm::types::Status;

/// Returns the ABI's name of a status, for a log line.
pub fn name(status: Status) -> &'static str {
    match status {
        Status::Ok => "Ok",
        Status::NotFound => "NotFound",
        Status::BadArgument => "BadArgument",
        Status::SerializationFailure => "SerializationFailure",
        Status::ParseFailure => "ParseFailure",
        Status::Empty => "Empty",
        Status::CasMismatch => "CasMismatch",
        // The enum is not exhaustive; `check` creates no other status.
        _ => "InternalFailure",
    }
}

/// Converts the number that Envoy answers a call with (proxy-wasm-cpp-host f2db56af,
/// `include/proxy-wasm/word.h`).
///
/// Raw calls return a number: the SDK's enum lacks some of Envoy's statuses (`Unimplemented` is 12), and a
/// value without a variant would be undefined behaviour. These become [`Status::InternalFailure`].
pub(crate) fn check(number: u32) -> Result<(), Status> {
    Err(match number {
        0 => return Ok(()),
        1 => Status::NotFound,
        2 => Status::BadArgument,
        3 => Status::SerializationFailure,
        4 => Status::ParseFailure,
        7 => Status::Empty,
        8 => Status::CasMismatch,
        _ => Status::InternalFailure,
    })
}
