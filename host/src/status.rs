//! What a host call says of itself.

/// A host call's result other than success (proxy-wasm-cpp-host f2db56af, `include/proxy-wasm/word.h`; the numbers as seen
/// on Envoy 1.40).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing of that name, or no such attribute now.
    NotFound,
    /// An argument that the host refuses: an unknown cluster, a header map that is not there in this phase.
    BadArgument,
    /// The value has no form that can cross the boundary.
    SerializationFailure,
    /// A queue without items.
    Empty,
    /// A shared value was changed by somebody else in between.
    CasMismatch,
    /// The host could not do it: a cluster without hosts, an expression that fails, a call that is restricted.
    InternalFailure,
    /// Anything else, by its number.
    Other(u32),
}

impl Status {
    /// The status that a number stands for; `Ok` for success.
    pub fn check(number: u32) -> Result<(), Status> {
        match number {
            0 => Ok(()),
            1 => Err(Status::NotFound),
            2 => Err(Status::BadArgument),
            3 => Err(Status::SerializationFailure),
            7 => Err(Status::Empty),
            8 => Err(Status::CasMismatch),
            10 => Err(Status::InternalFailure),
            other => Err(Status::Other(other)),
        }
    }
}
