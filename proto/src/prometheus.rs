//! Prometheus names of metrics and of attributes (OpenTelemetry specification,
//! `compatibility/prometheus_and_openmetrics.md`). The name of a metric contains its unit and, for a sum,
//! `_total`.

/// The last word of the name of a monotonic sum.
const TOTAL: &str = "total";

/// Labels that have a meaning in Prometheus. An attribute with such a name gets the prefix `exported_`, as
/// Prometheus does in a scrape.
const RESERVED: [&str; 3] = ["instance", "job", "le"];

/// Units in UCUM and their names in Prometheus.
const UNITS: [(&str, &str); 29] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tebibytes"),
    ("kBy", "kilobytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
    ("wk", "weeks"),
    ("bit", "bits"),
];

/// The Prometheus names of units after a `/`, as in `By/s`.
const UNITS_PER: [(&str, &str); 9] = [
    ("s", "second"),
    ("m", "minute"),
    ("min", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("wk", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// Returns the Prometheus name of a metric.
pub fn metric_name(name: &str, unit: &str, is_sum: bool) -> String {
    let is_separator = |character: char| !character.is_ascii_alphanumeric() && character != ':';
    let mut words: Vec<&str> = name.split(is_separator).filter(|word| !word.is_empty()).collect();
    let units = units(unit);
    for unit in units.iter().filter(|unit| !unit.is_empty()) {
        if !words.contains(&unit.as_str()) {
            words.push(unit);
        }
    }
    if is_sum {
        words.retain(|word| *word != TOTAL);
        words.push(TOTAL);
    }
    let name = words.join("_");
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Returns the Prometheus name of a unit in UCUM, or an empty text if the unit has no name.
pub fn unit(unit: &str) -> String {
    units(unit).into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
}

/// Returns the Prometheus name of an attribute: letters, digits and single underscores.
pub fn label_name(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for character in key.chars() {
        if character.is_ascii_alphanumeric() {
            name.push(character);
        } else if !name.ends_with('_') {
            name.push('_');
        }
    }
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert_str(0, "key_");
    }
    if RESERVED.contains(&name.as_str()) {
        name.insert_str(0, "exported_");
    }
    name
}

/// Returns the names of a unit before and after the `/`. Annotations such as `{request}` are not units.
fn units(unit: &str) -> [String; 2] {
    let (unit, per) = unit.split_once('/').unwrap_or((unit, ""));
    let per = word(per, &UNITS_PER);
    [word(unit, &UNITS), if per.is_empty() { per } else { format!("per_{per}") }]
}

fn word(unit: &str, known: &[(&str, &str)]) -> String {
    let unit = unit.trim();
    if unit.contains(['{', '}']) {
        return String::new();
    }
    if let Some((_, word)) = known.iter().find(|(ucum, _)| *ucum == unit) {
        return (*word).to_owned();
    }
    let words = unit.split(|character: char| !character.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_names_have_the_unit_and_the_kind() {
        for (name, unit, is_sum, expected) in [
            ("http.server.request.duration", "s", false, "http_server_request_duration_seconds"),
            ("http.server.request.duration", "s", false, "http_server_request_duration_seconds"),
            ("http.server.request.body.size", "By", false, "http_server_request_body_size_bytes"),
            ("requests", "1", true, "requests_total"),
            ("requests", "{request}", true, "requests_total"),
            ("requests_total", "", true, "requests_total"),
            ("total.requests", "", true, "requests_total"),
            ("bytes.sent", "By", true, "bytes_sent_total"),
            ("io", "By", true, "io_bytes_total"),
            ("disk.speed", "MBy/s", false, "disk_speed_megabytes_per_second"),
            ("errors", "{error}/min", false, "errors_per_minute"),
            ("active", "1", false, "active"),
            ("latency", "1", false, "latency"),
            ("unknown", "foo^2", false, "unknown_foo_2"),
            ("a..b--c_", "", false, "a_b_c"),
        ] {
            assert_eq!(metric_name(name, unit, is_sum), expected, "{name} in {unit}");
        }
    }

    #[test]
    fn units_have_names() {
        for (ucum, expected) in [
            ("s", "seconds"),
            ("By/s", "bytes_per_second"),
            ("1", ""),
            ("{request}", ""),
            ("", ""),
            ("/s", "per_second"),
        ] {
            assert_eq!(unit(ucum), expected, "{ucum}");
        }
    }

    #[test]
    fn label_names_are_valid_in_prometheus() {
        for (key, expected) in [
            ("http.request.method", "http_request_method"),
            ("a..b--c", "a_b_c"),
            ("__name__", "_name_"),
            ("2xx", "key_2xx"),
            ("größe", "gr_e"),
            ("Zone", "Zone"),
            ("job", "exported_job"),
            ("le", "exported_le"),
            ("§", "_"),
        ] {
            assert_eq!(label_name(key), expected, "{key}");
        }
    }
}
