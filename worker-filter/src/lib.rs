//! tributary-worker-filter
