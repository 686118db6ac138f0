//! What one Envoy, or one mesh, will run: the plugins and clusters of all files that belong together.

use crate::envoy::{Around, Found};
use crate::manifest;
use crate::yaml::place::Document;

/// Plugins and clusters that belong together.
#[derive(Clone, Debug)]
pub struct Deployment<'a> {
    /// What was found.
    pub found: Found<'a>,
    /// Whether a bootstrap is among the files, so that a service that is not there is missing.
    pub has_bootstrap: bool,
}

/// Sorts documents into deployments: each bootstrap is one, together with every LDS and CDS file; without a bootstrap those
/// are one by themselves; all manifests are one.
pub fn deployments<'a>(documents: &'a [Document]) -> Vec<Deployment<'a>> {
    let (manifests, others): (Vec<_>, Vec<_>) =
        documents.iter().partition(|document| manifest::kind(&document.root).is_some());
    let (bootstraps, resources): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|document| manifest::is_bootstrap(&document.root));

    let mut deployments = Vec::new();
    let with_resources = |bootstrap: Option<&'a Document>| {
        let mut found = Found { more_clusters: bootstrap.is_none(), ..Found::default() };
        for document in bootstrap.into_iter().chain(resources.iter().copied()) {
            found.look_into(&document.place(), &Around::default());
        }
        Deployment { found, has_bootstrap: bootstrap.is_some() }
    };
    deployments.extend(bootstraps.iter().map(|bootstrap| with_resources(Some(*bootstrap))));
    if bootstraps.is_empty() && !resources.is_empty() {
        deployments.push(with_resources(None));
    }
    if !manifests.is_empty() {
        let mut found = Found { more_clusters: true, ..Found::default() };
        manifests.into_iter().for_each(|document| manifest::look_into(document, &mut found));
        deployments.push(Deployment { found, has_bootstrap: false });
    }
    deployments
}
