//! Parts of the shell, each with the real other side of it: a store, a disk, servers, clients; and whole coordinators whose
//! workers a test plays.
//!
//! A coordinator that is flooded, and one whose disk is slow, are in programs of their own: they are measured.

#[path = "../common/mod.rs"]
mod common;
mod copy;
mod health;
mod hostile;
mod profile;
mod queue;
mod spans;
mod trainjob;
mod webhook;
