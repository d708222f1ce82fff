//! The shell around train: session, training thread, loader.
