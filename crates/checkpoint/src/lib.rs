//! Snapshots as safetensors with a manifest over any object store.
