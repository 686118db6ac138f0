//! OTLP in JSON by the letter: what OpenTelemetry's own types read must be all that was written, in the form that the
//! protocol prescribes.

use anyhow::{Context, Result, bail, ensure};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use serde_json::Value;

/// The fields whose bytes are hexadecimal digits, in which case does not matter.
const HEX_FIELDS: [&str; 2] = ["traceId", "spanId"];

/// A request from its JSON form.
///
/// Readers of OTLP pass over fields that they do not know and take numbers for strings; a writer must do neither. So
/// what was read is written again and compared: every field that came in must come out, as it came in.
///
/// # Errors
/// It is not JSON, no request, or not in the prescribed form; the error then says where.
pub(super) fn decode(body: &[u8]) -> Result<ExportMetricsServiceRequest> {
    let written: Value = serde_json::from_slice(body).context("the body is not JSON")?;
    let request: ExportMetricsServiceRequest =
        serde_json::from_value(written.clone()).context("the body is no ExportMetricsServiceRequest")?;
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
                    .with_context(|| format!("{path} is an unknown field, or not in its form"))?;
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
            ensure!(found == read, "{path} has {found} elements, of which {read} were read");
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
    fn what_opentelemetrys_own_types_write_is_read_back() {
        let metrics = vec![counter(CUMULATIVE, 1, 2, i64::MAX), duration(2, 200, [1, 2, 3])];
        for metrics in [metrics, vec![size(CUMULATIVE, 1, 2, &[1, 2])]] {
            let request = request("a", metrics);
            assert_eq!(decode(&serde_json::to_vec(&request).unwrap()).unwrap(), request);
        }
    }

    /// The smallest request that has one field of every form, with one field of one point replaced.
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
    fn only_the_prescribed_form_is_taken() {
        for (field, value) in [("flags", json!(1)), ("asDouble", json!(3)), ("asInt", json!("-3"))] {
            decode(&with(field, value)).unwrap();
        }
        let point = "$.resourceMetrics[0].scopeMetrics[0].metrics[0].sum.dataPoints[0]";
        for (field, value, why) in [
            ("timeUnixNano", json!(2), format!("{point}.timeUnixNano is the number 2")),
            ("asInt", json!(3), format!("{point}.asInt is the number 3")),
            ("time_unix_nano", json!("2"), format!("{point}.time_unix_nano is an unknown field")),
            // What is wrong inside one of several possible fields makes the reader pass over the whole of it.
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
        assert!(format!("{wrong:#}").contains("no ExportMetricsServiceRequest"), "{wrong:#}");
        assert!(format!("{:#}", decode(b"{").unwrap_err()).contains("not JSON"));
    }
}
