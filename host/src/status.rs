//! The statuses that the host answers a call with.

use proxy_wasm::types::Status;

/// The result of a call that the host answered with this number (proxy-wasm-cpp-host f2db56af,
/// `include/proxy-wasm/word.h`).
///
/// It crosses the boundary as a number: the SDK's enum lacks some of the host's statuses (`Unimplemented` is 12), and a value
/// that no variant has would be undefined behaviour. Those count as [`Status::InternalFailure`].
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
