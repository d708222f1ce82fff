//! How the learning rates change with the steps.

use std::f64::consts::PI;

use crate::Step;
use crate::macros::{section, words};
use crate::rules::Finding;
use crate::run::MAX_STEPS;
use crate::table::{number, of, whole};

section! {
    /// How both learning rates change with the steps: first they rise, then they fall.
    ScheduleSpec: Copy {
        /// Steps at the beginning over which the rates rise in a straight line: of so many steps, step t (counted from 0) has
        /// the share (t + 1) / warm_up_steps of the full rate.
        warm_up_steps: u64 => whole(0, MAX_STEPS).default("0").identity_unless("0"),
        /// How the rates fall behind the warm-up.
        decay: Decay => of::<Decay>().default("none").identity_unless("none"),
        /// Steps behind the warm-up over which they fall, with linear and cosine. It does not follow `steps`, so that a run that
        /// is made longer keeps the steps that it has done.
        decay_steps: u64 => whole(0, MAX_STEPS).default("0").identity_unless("0"),
        /// Share of the full rate that is left at the end of the fall, and from there on.
        floor: f64 => number(0.0, 1.0).default("0.0").identity_unless("0.0"),
    }
}

words! {
    /// How learning rates fall.
    Decay {
        /// not at all
        None = "none",
        /// in a straight line
        Linear = "linear",
        /// along half a cosine (Loshchilov and Hutter 2017, eq. 5, without restarts)
        Cosine = "cosine",
    }
}

impl ScheduleSpec {
    /// The share of the full learning rates that `step` has, 0 to 1; exactly 1 where nothing is said.
    ///
    /// The cosine is the `libm` crate's, so that every host computes the same bits.
    #[must_use]
    pub fn share(&self, step: Step) -> f64 {
        if step.0 < self.warm_up_steps {
            return (step.0 + 1) as f64 / self.warm_up_steps as f64;
        }
        let done = ((step.0 - self.warm_up_steps) as f64 / self.decay_steps.max(1) as f64).min(1.0);
        match self.decay {
            Decay::None => 1.0,
            Decay::Linear => 1.0 - (1.0 - self.floor) * done,
            Decay::Cosine => self.floor + (1.0 - self.floor) * 0.5 * (1.0 + libm::cos(PI * done)),
        }
    }

    /// A fall has its length.
    pub(crate) fn fall_without_steps(&self) -> Option<Finding> {
        const DECAY: &str = "optimizer.schedule.decay";
        const STEPS: &str = "optimizer.schedule.decay_steps";
        if self.decay == Decay::None || self.decay_steps > 0 {
            return None;
        }
        Some(Finding {
            path: STEPS,
            about: vec![STEPS, DECAY],
            found: self.decay_steps.to_string(),
            accepted: "with that decay the rates fall over 1 step or more".to_owned(),
            fix: "Set it to the steps that the run is to have behind the warm-up.".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(schedule: &ScheduleSpec, steps: &[u64]) -> Vec<f64> {
        steps.iter().map(|step| schedule.share(Step(*step))).collect()
    }

    #[test]
    fn nothing_said_is_exactly_the_full_rate() {
        let steps = [0, 1, 1000, MAX_STEPS];
        assert_eq!(shares(&ScheduleSpec::default(), &steps), [1.0; 4]);
    }

    #[test]
    fn rates_rise_then_fall_then_stay() {
        let linear = ScheduleSpec { warm_up_steps: 4, decay: Decay::Linear, decay_steps: 8, floor: 0.25 };
        let wanted = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0 - 0.75 / 8.0, 0.625, 0.25, 0.25];
        assert_eq!(shares(&linear, &[0, 1, 2, 3, 4, 5, 8, 12, 1 << 40]), wanted);
        let cosine = ScheduleSpec { decay: Decay::Cosine, ..linear };
        let found = shares(&cosine, &[3, 4, 6, 8, 12, 13]);
        let at_a_quarter = 0.25 + 0.75 * 0.5 * (1.0 + 0.5_f64.sqrt());
        for (found, wanted) in found.iter().zip([1.0, 1.0, at_a_quarter, 0.625, 0.25, 0.25]) {
            assert!((found - wanted).abs() < 1e-15, "{found} instead of {wanted}");
        }
    }
}
