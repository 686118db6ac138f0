//! Whether the service lives and the exports get through, by what it says in shared data.

use tributary_host::shared_data::{HostSharedData, SharedData};
use tributary_proto::exports::{self, Export};
use tributary_proto::heartbeat;

/// What is wrong with the service itself; none if it lives.
pub fn service_fault(now_unix_nano: u64) -> Option<String> {
    let beat = HostSharedData.get(heartbeat::KEY).ok().flatten();
    let Some((bytes, _)) = beat else {
        return Some(
            "no service has ever spoken: is service.wasm a bootstrap extension with the vm_id of this console?".to_owned(),
        );
    };
    let silence = format!(
        "the service has been silent for {} s or more: it is dead or hangs, look in Envoy's log for why",
        heartbeat::SILENCE_NS / 1_000_000_000
    );
    heartbeat::is_silent(&bytes, now_unix_nano).then_some(silence)
}

/// How the exports go; none without destinations, or without a service.
pub fn exports() -> Vec<Export> {
    let bytes = HostSharedData.get(exports::KEY).ok().flatten();
    bytes.map(|(bytes, _)| exports::decode(bytes)).unwrap_or_default()
}

/// Everything that is wrong now, one line each.
pub fn faults(now_unix_nano: u64) -> Vec<String> {
    if let Some(fault) = service_fault(now_unix_nano) {
        return vec![fault];
    }
    let stuck = exports().into_iter().filter(|export| export.is_stuck(now_unix_nano));
    stuck.map(|export| export_fault(&export, now_unix_nano)).collect()
}

/// What holds up a destination.
pub fn export_fault(export: &Export, now_unix_nano: u64) -> String {
    let Export { name, failures, fault, .. } = export;
    let seconds = now_unix_nano.saturating_sub(export.complete_unix_nano) / 1_000_000_000;
    if fault.is_empty() {
        return format!("destination \"{name}\": has not answered yet");
    }
    format!(
        "destination \"{name}\": nothing complete for {seconds} s, {failures} failures in a row; the last: {fault}"
    )
}
