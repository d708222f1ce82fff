//! Runs whose journals are written here, as their readers are shown them.

mod common;
mod routes;
mod thinned;
mod verify;
