//! Repeats one part of the worker filter: `cargo xtask bench --figures parts` counts its instructions.

use std::error::Error;
use std::hint::black_box;

use tributary_host::random;
use tributary_plan::config::WorkerConfig;
use tributary_proto::batch::BatchWriter;
use tributary_worker_filter::fold::Fold;
use tributary_worker_filter::observation::{Observation, Progress};

const SERIES: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [part, times] = &*arguments else { return Err("which part, and how often?".into()) };
    let times: usize = times.parse()?;
    let plan = WorkerConfig::parse(b"").map_err(|_| "the default configuration is rejected")?.plan;
    let metrics = plan.main.metrics();
    let items: Vec<_> = plan.main.sources.iter().map(|source| source.item.clone()).collect();
    let mut fold = Fold::new(plan.main, SERIES, random::hasher());
    let mut writer = BatchWriter::new(1, Vec::new(), &metrics);
    let record = |fold: &mut Fold<_>, route: &str| {
        let (code, duration, size) =
            (200_i64.to_le_bytes(), 7_000_000_i64.to_le_bytes(), 512_i64.to_le_bytes());
        let mut observation = Observation::default();
        for (place, item) in observation.values_mut().iter_mut().zip(&items) {
            *place = Some(match item.as_str() {
                "request.method" => b"GET",
                "response.code" => &code,
                "xds.route_name" => route.as_bytes(),
                "request.scheme" => b"https",
                "request.duration" => &duration,
                _ => &size,
            });
        }
        fold.record(&observation, Progress::whole(0));
    };
    match part.as_str() {
        "record" => (0..times).for_each(|_| record(&mut fold, black_box("checkout"))),
        "flush" => {
            let routes: Vec<_> = (0..SERIES).map(|route| format!("route-{route}")).collect();
            routes.iter().for_each(|route| record(&mut fold, route));
            for _ in 0..times {
                // A fold flushes only series with new observations.
                routes.iter().for_each(|route| record(&mut fold, route));
                fold.drain(|attributes, observations, points, exemplars| {
                    black_box(writer.push(attributes, observations, points, exemplars));
                });
                black_box(writer.finish());
            }
        }
        other => return Err(format!("unknown part {other}").into()),
    }
    Ok(())
}
