//! tributary-host
