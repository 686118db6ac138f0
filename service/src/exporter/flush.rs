//! Which flush the cycles serve.

/// Which flush the cycles serve, by their numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flush {
    /// The last that was asked for.
    pub(super) wanted: u64,
    /// The last before the present cycle began.
    pub(super) begun: u64,
    /// Whether a slice of the present cycle was refused.
    pub(super) is_refused: bool,
}
