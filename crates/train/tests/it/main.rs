//! Models, objectives, sums and steps on the host, and what is made of their weights.

mod contracts;
mod export;
mod golden;
mod pictures;
#[path = "../reference/mod.rs"]
mod reference;
mod sizes;
mod sums;
mod updates;
