//! What a step takes a worker and what the worker takes of its host, kept in the journal for the run's page, and
//! its memory for the status.

use lsgan_control::SessionId;
use lsgan_control::gate::Rejection;
use lsgan_wire::v1;
use serde_json::json;

use crate::notices::shown;
use crate::shell::Shell;

/// The longest name of a host or device that is kept.
const NAME_LEN_BYTES_MAX: usize = 200;

impl Shell {
    /// A worker says what its steps take it. Nothing follows from it but what people see.
    pub(crate) fn load(&mut self, session: SessionId, load: &v1::Load) {
        let Some(incarnation) = self.worker_on(session).map(|worker| worker.rights.incarnation) else {
            return self.reject(session, &Rejection::NoHello);
        };
        if let Some(open) = self.sessions.get_mut(&session) {
            // A worker that cannot read it says 0.
            open.memory_bytes = (load.memory_bytes > 0).then_some(load.memory_bytes.min(NUMBER_MAX));
        }
        self.journal.set_load(incarnation, as_json(load))
    }
}

/// More than any worker has, so that those of all workers can be added up.
const NUMBER_MAX: u64 = 1 << 48;

/// As docs/observe.md has it.
fn as_json(load: &v1::Load) -> String {
    let number = |number: u64| number.min(NUMBER_MAX);
    let name = |text: &str| shown(text, NAME_LEN_BYTES_MAX);
    json!({
        "steps": number(load.steps),
        "step_us": number(load.step_us),
        "data_wait_us": number(load.data_wait_us),
        "discriminator_us": number(load.discriminator_us),
        "generator_us": number(load.generator_us),
        "reduce_us": number(load.reduce_us),
        "apply_us": number(load.apply_us),
        "memory_bytes": number(load.memory_bytes),
        "host": name(&load.host),
        "device": name(&load.device),
        "threads": load.threads,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_printable_and_numbers_can_be_added_up() {
        let host = format!("a\u{1b}[2J{}", "ä".repeat(NAME_LEN_BYTES_MAX));
        let json = as_json(&v1::Load { steps: 7, memory_bytes: u64::MAX, host, ..v1::Load::default() });
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["steps"], 7);
        assert_eq!(read["memory_bytes"], NUMBER_MAX);
        let host = read["host"].as_str().unwrap();
        assert!(host.len() < NAME_LEN_BYTES_MAX + 10 && !host.contains('\u{1b}'), "{host}");
    }
}
