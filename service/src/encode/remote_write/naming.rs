//! Names: what Prometheus calls a metric, with its unit and, for a sum, `_total`.

use tributary_proto::metric::Metric;

use crate::points::Form;

/// UCUM's units, and what Prometheus calls them.
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

/// The same behind a `/`.
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

/// What Prometheus calls a metric.
pub(super) fn name(metric: &Metric, form: Form<'_>) -> String {
    let is_separator = |character: char| !character.is_ascii_alphanumeric() && character != ':';
    let mut words: Vec<&str> = metric.name.split(is_separator).filter(|word| !word.is_empty()).collect();
    let (unit, per) = units(&metric.unit);
    for unit in [&unit, &per] {
        if !unit.is_empty() && !words.contains(&unit.as_str()) {
            words.push(unit);
        }
    }
    let ending = match form {
        Form::Sum => "total",
        Form::UpDown | Form::Histogram { .. } | Form::Exponential => "",
    };
    if !ending.is_empty() {
        words.retain(|word| *word != ending);
        words.push(ending);
    }
    let name = words.join("_");
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// What Prometheus calls a unit of UCUM; nothing if it has no word for it.
pub(super) fn unit(unit: &str) -> String {
    let (unit, per) = units(unit);
    [unit, per].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
}

/// The unit itself, and what it is per. Annotations such as `{request}` are no units.
fn units(unit: &str) -> (String, String) {
    let (unit, per) = unit.split_once('/').unwrap_or((unit, ""));
    let per = word(per, &UNITS_PER);
    (word(unit, &UNITS), if per.is_empty() { per } else { format!("per_{per}") })
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
    use tributary_proto::metric::Kind;

    use super::*;

    #[test]
    fn names_say_the_unit_and_what_kind_of_number_it_is() {
        let histogram = Form::Histogram { bounds: &[] };
        for (name, unit, form, expected) in [
            ("http.server.request.duration", "s", histogram, "http_server_request_duration_seconds"),
            ("http.server.request.duration", "s", Form::Exponential, "http_server_request_duration_seconds"),
            ("http.server.request.body.size", "By", histogram, "http_server_request_body_size_bytes"),
            ("requests", "1", Form::Sum, "requests_total"),
            ("requests", "{request}", Form::Sum, "requests_total"),
            ("requests_total", "", Form::Sum, "requests_total"),
            ("total.requests", "", Form::Sum, "requests_total"),
            ("bytes.sent", "By", Form::Sum, "bytes_sent_total"),
            ("io", "By", Form::Sum, "io_bytes_total"),
            ("disk.speed", "MBy/s", Form::UpDown, "disk_speed_megabytes_per_second"),
            ("errors", "{error}/min", Form::UpDown, "errors_per_minute"),
            ("active", "1", Form::UpDown, "active"),
            ("latency", "1", histogram, "latency"),
            ("strange", "foo^2", Form::UpDown, "strange_foo_2"),
            ("a..b--c_", "", Form::UpDown, "a_b_c"),
        ] {
            let (name, unit) = (name.to_owned(), unit.to_owned());
            let metric = Metric { name, unit, description: String::new(), divisor: 1, kind: Kind::Counter };
            assert_eq!(super::name(&metric, form), expected, "{} in {}", metric.name, metric.unit);
        }
    }

    #[test]
    fn units_are_words() {
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
}
