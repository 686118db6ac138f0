//! The processes of the demo: the upstream, the collector and Envoy.

use std::env;
use std::fs::File;
use std::net::SocketAddr;

use anyhow::Result;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::ports::{self, ReservedPort};
use tributary_tests::upstream::Upstream;

use super::collector::{Collector, CollectorKind};

const LISTENER: &str = "ingress";
const UPSTREAM_CLUSTER: &str = "app";
const COLLECTOR_CLUSTER: &str = "otlp_collector";

/// The running processes. They end when this value is dropped.
pub(crate) struct DemoEnvironment {
    pub(crate) envoy: Envoy,
    pub(crate) collector: Collector,
    upstream: Upstream,
    _ports: DemoPorts,
}

/// The ports of a demo: the ports in the configuration, or other ports if another process uses these.
///
/// Two Envoys can listen on the same port. The kernel would then divide the requests of both demos among
/// them, so only one demo at a time takes the ports of the configuration, even if they are free.
struct DemoPorts {
    /// Locked while a demo has the ports of the configuration.
    _lock: Option<File>,
    is_first: bool,
    reserved: Vec<ReservedPort>,
}

impl DemoEnvironment {
    /// Starts all processes, with the configuration `envoy/minimal.yaml`. Ports in use are replaced.
    pub(crate) async fn start(workers: u32, kind: CollectorKind) -> Result<Self> {
        let mut config = EnvoyConfig::minimal()?.service("destinations[0].path", kind.path());
        let mut ports = DemoPorts::lock();

        let own = config.cluster_address(UPSTREAM_CLUSTER)?.port();
        let upstream = Upstream::start(ports.own_or_any(own)).await?;
        config = config.cluster_port(UPSTREAM_CLUSTER, upstream.port());
        note_port("upstream", own, upstream.port());

        let own = config.cluster_address(COLLECTOR_CLUSTER)?.port();
        let collector = Collector::start(kind, ports.own_or_any(own)).await?;
        config = config.cluster_port(COLLECTOR_CLUSTER, collector.port());
        note_port(&format!("collector ({})", kind.name()), own, collector.port());

        let own = config.listener_address(LISTENER)?.port();
        let port = ports.reserve(own)?;
        config = config.listener_port(LISTENER, port);
        note_port("Envoy", own, port);

        let own = config.admin_address()?.port();
        let port = ports.reserve(own)?;
        config = config.admin_port(port);
        note_port("Envoy's admin interface", own, port);

        let envoy = Envoy::start(&config, &EnvoyOptions::workers(workers)).await?;
        eprintln!("Envoy runs envoy/minimal.yaml with {workers} workers");
        Ok(Self { envoy, collector, upstream, _ports: ports })
    }

    /// Returns the address on which Envoy accepts requests.
    pub(crate) fn ingress(&self) -> Result<SocketAddr> {
        self.envoy.listener(LISTENER)
    }

    /// Returns a text with one line for each address of the demo.
    pub(crate) fn addresses(&self) -> Result<String> {
        let collector = ports::localhost(self.collector.port());
        let collector = match self.collector {
            Collector::Embedded(_) => {
                format!("http://{collector}/v1/metrics (receives OTLP, has no queries)")
            }
            Collector::VictoriaMetrics(_) => {
                format!("http://{collector}/api/v1/export?match[]={{__name__=~%22http.*%22}}")
            }
        };
        Ok(format!(
            "\nstill running:\n  Envoy      http://{}/users/1\n  admin      http://{}/stats\n  \
             upstream   http://{}/\n  collector  {collector}",
            self.ingress()?,
            self.envoy.admin().address(),
            self.upstream.address(),
        ))
    }
}

/// Reports the port of a server if it is not the configured port.
fn note_port(server: &str, configured: u16, actual: u16) {
    if configured != actual {
        eprintln!("port {configured} is in use: {server} gets port {actual}");
    }
}

impl DemoPorts {
    fn lock() -> Self {
        let lock = File::create(env::temp_dir().join("tributary-demo.lock")).ok();
        let is_first = lock.as_ref().is_some_and(|lock| lock.try_lock().is_ok());
        Self { _lock: lock, is_first, reserved: Vec::new() }
    }

    fn is_free(&self, own: u16) -> bool {
        self.is_first && ports::is_free(own)
    }

    /// Returns the port `own` if it is free. Otherwise returns 0, which makes a server take any free port.
    fn own_or_any(&self, own: u16) -> u16 {
        if self.is_free(own) { own } else { 0 }
    }

    /// Returns the port `own` if it is free, otherwise another port. Reserves the other port.
    fn reserve(&mut self, own: u16) -> Result<u16> {
        if self.is_free(own) {
            return Ok(own);
        }
        let other = ReservedPort::new()?;
        let port = other.port();
        self.reserved.push(other);
        Ok(port)
    }
}
