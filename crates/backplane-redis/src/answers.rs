//! From what the scripts answer to the hub's own types.

use fred::types::Value;
use towncrier_backplane::BackplaneError;
use towncrier_wire::EventId;

/// An answer that is not what the script gives: somebody else's script, or a defect. Nothing can be concluded from it.
pub(crate) fn odd(value: &Value) -> BackplaneError {
    tracing::error!(kind = ?value.kind(), "redis gives an answer that is not understood");
    BackplaneError::Unavailable
}

pub(crate) fn list(value: Value) -> Result<Vec<Value>, BackplaneError> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(odd(&other)),
    }
}

/// A list of just so many.
pub(crate) fn exactly<const N: usize>(value: Value) -> Result<[Value; N], BackplaneError> {
    let values = list(value)?;
    values.try_into().map_err(|values| odd(&Value::Array(values)))
}

pub(crate) fn id(value: &Value) -> Result<EventId, BackplaneError> {
    str(value).and_then(|text| text.parse().map_err(|_| odd(value)))
}

pub(crate) fn str(value: &Value) -> Result<&str, BackplaneError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| odd(value)),
        other => Err(odd(other)),
    }
}

pub(crate) fn count(value: &Value) -> Result<usize, BackplaneError> {
    match value {
        // Sums may pass through below zero when keys were taken away by hand.
        Value::Integer(number) => Ok(usize::try_from(*number).unwrap_or(0)),
        Value::Double(number) => Ok(number.max(0.0) as usize),
        other => str(other)?.parse().map_err(|_| odd(other)),
    }
}
