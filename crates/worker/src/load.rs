//! What a step takes this worker, part by part, and what the worker takes of its host: for people, on the run's page.

use std::time::{Duration, Instant};

use lsgan_snapshots::host_name;
use lsgan_wire::v1;

/// How soon it is first said in a generation, and how often then.
const FIRST: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(5);

/// The parts of the steps since it was said last.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    data_wait: Duration,
    discriminator: Duration,
    generator: Duration,
    reduce: Duration,
    apply: Duration,
}

/// Adds them up over the steps of a generation.
#[derive(Debug)]
pub struct Load {
    host: String,
    device: String,
    threads: u32,
    every: Duration,
    since: Instant,
    steps: u64,
    parts: Parts,
}

impl Load {
    /// Of a generation that begins, on a device of this name.
    #[must_use]
    pub fn start(device: &str, threads: u32) -> Self {
        Self {
            host: host_name().unwrap_or_default(),
            device: device.to_owned(),
            threads,
            every: FIRST,
            since: Instant::now(),
            steps: 0,
            parts: Parts::default(),
        }
    }

    /// Time that was spent waiting for data.
    pub fn data_wait(&mut self, waited: Duration) {
        self.parts.data_wait += waited;
    }

    /// Time that was spent computing D's half, or a part of it ahead.
    pub fn discriminator(&mut self, spent: Duration) {
        self.parts.discriminator += spent;
    }

    /// Time that was spent computing G's half.
    pub fn generator(&mut self, spent: Duration) {
        self.parts.generator += spent;
    }

    /// Time that was spent waiting for a sum.
    pub fn reduce(&mut self, waited: Duration) {
        self.parts.reduce += waited;
    }

    /// Time that was spent updating weights.
    pub fn apply(&mut self, spent: Duration) {
        self.parts.apply += spent;
    }

    /// A step has ended; returns what is to be said, if it is time for that.
    pub fn step_ended(&mut self) -> Option<v1::Load> {
        self.steps += 1;
        let elapsed = self.since.elapsed();
        (elapsed >= self.every).then(|| self.say(elapsed))
    }

    fn say(&mut self, elapsed: Duration) -> v1::Load {
        let Parts { data_wait, discriminator, generator, reduce, apply } = std::mem::take(&mut self.parts);
        let steps = std::mem::take(&mut self.steps);
        (self.since, self.every) = (Instant::now(), EVERY);
        let mean_us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX) / steps.max(1);
        v1::Load {
            steps,
            step_us: mean_us(elapsed),
            data_wait_us: mean_us(data_wait),
            discriminator_us: mean_us(discriminator),
            generator_us: mean_us(generator),
            reduce_us: mean_us(reduce),
            apply_us: mean_us(apply),
            memory_bytes: resident_bytes().unwrap_or(0),
            host: self.host.clone(),
            device: self.device.clone(),
            threads: self.threads,
        }
    }
}

/// The memory of the host that this process holds.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_means_of_the_steps_and_begin_anew() {
        let mut load = Load::start("a CPU", 2);
        assert!(load.step_ended().is_none(), "it is too soon");
        load.generator(Duration::from_micros(300));
        load.apply(Duration::from_micros(30));
        load.steps += 1;
        let said = load.say(Duration::from_micros(1000));
        assert_eq!((said.steps, said.step_us, said.generator_us, said.apply_us), (2, 500, 150, 15));
        assert!(said.memory_bytes > 1 << 20, "{said:?}");
        assert_eq!((said.device.as_str(), said.threads), ("a CPU", 2));
        load.steps += 1;
        assert_eq!(load.say(Duration::from_micros(7)).generator_us, 0);
    }
}
