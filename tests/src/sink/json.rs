//! Strict decoding of OTLP in JSON: every field must be known to OpenTelemetry's own types and be in the form
//! that the protocol prescribes.

use anyhow::{Context, Result, bail, ensure};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use serde_json::Value;

/// The fields whose values are hexadecimal digits, in upper or lower case.
const HEX_FIELDS: [&str; 2] = ["traceId", "spanId"];

/// Decodes a request.
///
/// OTLP readers ignore unknown fields and accept numbers instead of strings, but a writer must not rely on
/// this. So the decoded request is encoded again and compared with the body: every field of the body must
/// be present and unchanged.
///
/// # Errors
/// The body is not JSON, not a request, or not in the prescribed form. In the last case, the error names
/// the field.
pub(super) fn decode(body: &[u8]) -> Result<ExportMetricsServiceRequest> {
    let written: Value = serde_json::from_slice(body).context("the body is not JSON")?;
    let request: ExportMetricsServiceRequest =
        serde_json::from_value(written.clone()).context("the body is not an ExportMetricsServiceRequest")?;
    compare("$", &written, &serde_json::to_value(&request)?)?;
    Ok(request)
}

fn compare(path: &str, written: &Value, prescribed: &Value) -> Result<()> {
    match (written, prescribed) {
        (Value::Object(written), Value::Object(prescribed)) => {
            for (key, value) in written {
                let path = format!("{path}.{key}");
                let prescribed = prescribed
                    .get(key)
                    .with_context(|| format!("{path} is an unknown field, or has the wrong form"))?;
                match (value, prescribed) {
                    (Value::String(a), Value::String(b)) if HEX_FIELDS.contains(&key.as_str()) => {
                        ensure!(a.eq_ignore_ascii_case(b), "{path} is {a:?}, not {b:?}");
                    }
                    _ => compare(&path, value, prescribed)?,
                }
            }
        }
        (Value::Array(written), Value::Array(prescribed)) => {
            let (found, read) = (written.len(), prescribed.len());
            ensure!(found == read, "{read} of {found} elements of {path} were read");
            for (position, (value, prescribed)) in written.iter().zip(prescribed).enumerate() {
                compare(&format!("{path}[{position}]"), value, prescribed)?;
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            ensure!(a.as_f64() == b.as_f64(), "{path} is {a}, which is read as {b}");
        }
        (Value::Number(number), Value::String(_)) => {
            bail!("{path} is the number {number}; integers of 64 bits are strings")
        }
        (written, prescribed) => ensure!(written == prescribed, "{path} is {written}, not {prescribed}"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{CUMULATIVE, counter, duration, request, size};
    use super::*;
    use serde_json::json;

    #[test]
    fn the_output_of_opentelemetrys_own_types_is_decoded() {
        let metrics = vec![counter(CUMULATIVE, 1, 2, i64::MAX), duration(2, 200, [1, 2, 3])];
        for metrics in [metrics, vec![size(CUMULATIVE, 1, 2, &[1, 2])]] {
            let request = request("a", metrics);
            assert_eq!(decode(&serde_json::to_vec(&request).unwrap()).unwrap(), request);
        }
    }

    /// Makes a small request with a field of every form, in which one field of the point is replaced.
    fn with(field: &str, value: Value) -> Vec<u8> {
        let mut point = json!({
            "startTimeUnixNano": "1", "timeUnixNano": "2", "asInt": "3", "flags": 0,
            "attributes": [{"key": "code", "value": {"intValue": "200"}}],
            "exemplars": [{"timeUnixNano": "2", "asDouble": 0.1,
                "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174"}]
        });
        if field == "asInt" || field == "asDouble" {
            point.as_object_mut().unwrap().remove("asInt");
        }
        point[field] = value;
        let sum = json!({"dataPoints": [point], "aggregationTemporality": 2, "isMonotonic": true});
        let scope_metrics = json!([{"scope": {"name": "s"}, "metrics": [{"name": "n", "sum": sum}]}]);
        json!({"resourceMetrics": [{"scopeMetrics": scope_metrics}]}).to_string().into_bytes()
    }

    #[test]
    fn only_the_prescribed_form_is_accepted() {
        for (field, value) in [("flags", json!(1)), ("asDouble", json!(3)), ("asInt", json!("-3"))] {
            decode(&with(field, value)).unwrap();
        }
        let point = "$.resourceMetrics[0].scopeMetrics[0].metrics[0].sum.dataPoints[0]";
        for (field, value, why) in [
            ("timeUnixNano", json!(2), format!("{point}.timeUnixNano is the number 2")),
            ("asInt", json!(3), format!("{point}.asInt is the number 3")),
            ("time_unix_nano", json!("2"), format!("{point}.time_unix_nano is an unknown field")),
            // An error inside a oneof field makes the reader skip the whole field.
            (
                "attributes",
                json!([{"key": "c", "value": {"intValue": 1}}]),
                "intValue is the number".to_owned(),
            ),
            ("attributes", json!([{"key": "c", "value": {"int": "1"}}]), "value".to_owned()),
            (
                "exemplars",
                json!([{"traceId": "W47/95gDgQPSabYzgT/GDA=="}]),
                ".sum is an unknown field, or".to_owned(),
            ),
            ("flags", json!("1"), ".sum is an unknown field, or".to_owned()),
        ] {
            let error = format!("{:#}", decode(&with(field, value)).unwrap_err());
            assert!(error.contains(&why), "{why}: {error}");
        }
        let wrong = decode(br#"{"resourceMetrics": 1}"#).unwrap_err();
        assert!(format!("{wrong:#}").contains("not an ExportMetricsServiceRequest"), "{wrong:#}");
        assert!(format!("{:#}", decode(b"{").unwrap_err()).contains("not JSON"));
    }
}
