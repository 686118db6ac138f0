//! Reads attributes of a stream: one property per call, or many with one CEL expression.

use proxy_wasm::types::Status;

pub use crate::raw::property;
use crate::{raw, status};

/// A CEL expression that Envoy has compiled. It is valid in the root context in which it was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expression(u32);

/// Returns whether the current stream is an HTTP stream and not a TCP connection.
///
/// # Errors
/// Fails if Envoy withholds properties.
pub fn is_http() -> Result<bool, Status> {
    Ok(status::optional(property(b"request\0protocol"), Status::NotFound)?.is_some())
}

/// Compiles a CEL expression.
///
/// # Errors
/// [`Status::NotFound`] if Envoy has no CEL; another status if it rejects the expression.
pub fn compile(expression: &str) -> Result<Expression, Status> {
    let token = raw::foreign_function("expr_create", expression.as_bytes())?;
    let token = token.first_chunk().copied().ok_or(Status::SerializationFailure)?;
    Ok(Expression(u32::from_le_bytes(token)))
}

/// Deletes an expression. If this fails, Envoy only keeps the memory of the expression.
pub fn forget(expression: Expression) {
    let _ = raw::foreign_function("expr_delete", &expression.0.to_le_bytes());
}

/// Evaluates an expression for the current stream. Costs about 8,400 instructions, plus 1,800 for each
/// attribute in the expression.
///
/// # Errors
/// [`Status::InternalFailure`] if an attribute in the expression is absent (Envoy 1.40).
pub fn evaluate(expression: Expression) -> Result<Vec<u8>, Status> {
    raw::foreign_function("expr_evaluate", &expression.0.to_le_bytes())
}
