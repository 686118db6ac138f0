//! The statuses that Envoy returns for a call.

use proxy_wasm::types::Status;

/// The statuses with their number and name in the ABI (proxy-wasm-cpp-host f2db56af,
/// `include/proxy-wasm/word.h`). All other numbers count as [`Status::InternalFailure`].
const STATUSES: [(u32, Status, &str); 6] = [
    (1, Status::NotFound, "NotFound"),
    (2, Status::BadArgument, "BadArgument"),
    (3, Status::SerializationFailure, "SerializationFailure"),
    (4, Status::ParseFailure, "ParseFailure"),
    (7, Status::Empty, "Empty"),
    (8, Status::CasMismatch, "CasMismatch"),
];

/// Returns the ABI's name of a status that is not [`Status::Ok`], for a log line.
pub fn name(status: Status) -> &'static str {
    STATUSES.iter().find(|(_, known, _)| *known == status).map_or("InternalFailure", |(_, _, name)| name)
}

/// Converts the number that Envoy returns for a call.
///
/// Raw calls return a number, because the SDK's enum lacks some of Envoy's statuses (`Unimplemented` is 12),
/// and an enum value without a variant would be undefined behaviour.
pub(crate) fn check(number: u32) -> Result<(), Status> {
    if number == 0 {
        return Ok(());
    }
    let known = STATUSES.iter().find(|(known, _, _)| *known == number);
    Err(known.map_or(Status::InternalFailure, |(_, status, _)| *status))
}

/// Converts the status `absent`, which only reports that something does not exist, to `None`.
pub(crate) fn optional<T>(result: Result<T, Status>, absent: Status) -> Result<Option<T>, Status> {
    match result {
        Err(status) if status == absent => Ok(None),
        result => result.map(Some),
    }
}
