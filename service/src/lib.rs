//! tributary-service
