//! Finds out from shared data whether the service runs and whether its exports succeed.

use tributary_host::shared_data::{HostSharedData, SharedData};
use tributary_proto::exports::{self, Export, Exports};
use tributary_proto::heartbeat;

/// Describes what is wrong with the service itself; `None` if its heartbeat is recent.
pub(crate) fn service_fault(now_unix_nano: u64) -> Option<String> {
    let beat = HostSharedData.get(heartbeat::KEY).ok().flatten();
    let Some((bytes, _)) = beat else {
        return Some(
            "no service has sent a heartbeat: attach service.wasm with the vm_id of this console".to_owned(),
        );
    };
    let fault = format!(
        "the service has been silent for {} s or more: it has failed or hangs; Envoy's log has the reason",
        heartbeat::SILENCE_NS / 1_000_000_000
    );
    heartbeat::is_silent(&bytes, now_unix_nano).then_some(fault)
}

/// Returns the state of the exports to each destination; empty if there are no destinations or no service.
pub(crate) fn exports() -> Vec<Export> {
    published().exports
}

fn published() -> Exports {
    let bytes = HostSharedData.get(exports::KEY).ok().flatten();
    bytes.map(|(bytes, _)| exports::decode(bytes)).unwrap_or_default()
}

/// Describes everything that is wrong now, one line each.
pub(crate) fn faults(now_unix_nano: u64) -> Vec<String> {
    if let Some(fault) = service_fault(now_unix_nano) {
        return vec![fault];
    }
    let Exports { exports, queue_fault } = published();
    let stuck = exports.iter().filter(|export| export.is_stuck(now_unix_nano));
    let stuck = stuck.map(|export| export_fault(export, now_unix_nano));
    Some(queue_fault).filter(|fault| !fault.is_empty()).into_iter().chain(stuck).collect()
}

/// Describes why the exports to a destination are not complete.
pub(crate) fn export_fault(export: &Export, now_unix_nano: u64) -> String {
    let Export { name, failures, fault, .. } = export;
    let seconds = now_unix_nano.saturating_sub(export.complete_unix_nano) / 1_000_000_000;
    if fault.is_empty() {
        return format!("destination \"{name}\": has not responded yet");
    }
    format!(
        "destination \"{name}\": the last complete export was {seconds} s ago, {failures} failures since; \
         the last: {fault}"
    )
}
