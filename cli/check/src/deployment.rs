//! Groups files whose plugins and clusters run in the same Envoy or mesh.

use crate::envoy::{Inventory, Scope};
use crate::manifest;
use crate::yaml::node_ref::Document;

/// The plugins and clusters of files that belong together.
#[derive(Clone, Debug)]
pub struct Deployment<'a> {
    /// The plugins and clusters.
    pub inventory: Inventory<'a>,
    /// Whether a bootstrap is among the files. A deployment with a bootstrap but without a service is an
    /// error.
    pub has_bootstrap: bool,
}

/// Groups documents into deployments. Each bootstrap is one deployment, together with all LDS and CDS
/// files. If there is no bootstrap, the LDS and CDS files are one deployment. All manifests together are
/// another deployment.
pub fn deployments<'a>(documents: &'a [Document]) -> Vec<Deployment<'a>> {
    let (manifests, others): (Vec<_>, Vec<_>) =
        documents.iter().partition(|document| manifest::kind(&document.root).is_some());
    let (bootstraps, resources): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|document| manifest::is_bootstrap(&document.root));

    let mut deployments = Vec::new();
    let with_resources = |bootstrap: Option<&'a Document>| {
        let mut inventory = Inventory { more_clusters: bootstrap.is_none(), ..Inventory::default() };
        for document in bootstrap.into_iter().chain(resources.iter().copied()) {
            inventory.scan(&document.root_ref(), &Scope::default());
        }
        Deployment { inventory, has_bootstrap: bootstrap.is_some() }
    };
    deployments.extend(bootstraps.iter().map(|bootstrap| with_resources(Some(*bootstrap))));
    if bootstraps.is_empty() && !resources.is_empty() {
        deployments.push(with_resources(None));
    }
    if !manifests.is_empty() {
        let mut inventory = Inventory { more_clusters: true, ..Inventory::default() };
        manifests.into_iter().for_each(|document| manifest::scan(document, &mut inventory));
        deployments.push(Deployment { inventory, has_bootstrap: false });
    }
    deployments
}
