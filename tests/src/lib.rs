//! The harness of the whole-system tests: starts real coordinators and workers and waits for events.
