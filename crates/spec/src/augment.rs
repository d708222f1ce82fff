//! How D's inputs are changed at random.

use crate::RunSpec;
use crate::macros::section;
use crate::rules::Finding;
use crate::table::{Kind, field, number};

section! {
    /// DiffAugment (Zhao et al. 2020): all pictures that D sees, real ones and fakes, are changed at random, and G learns
    /// through the change. So D does not learn small data sets by heart. Off unless it is said here.
    AugmentSpec: Copy {
        /// Whether brightness, saturation and contrast are changed.
        color: bool => field(Kind::YesNo).default("false").identity_unless("false"),
        /// Pictures are moved by up to this share of their side, the rest grey (0); the authors take 0.125. 0: they are not moved.
        translation: f64 => number(0.0, 0.5).default("0.0").identity_unless("0.0"),
        /// A square of this share of the side is made grey, somewhere; the authors take 0.5. 0: none is.
        cutout: f64 => number(0.0, 1.0).default("0.0").identity_unless("0.0"),
    }
}

impl AugmentSpec {
    /// Whether anything is changed.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.color || self.translation > 0.0 || self.cutout > 0.0
    }
}

/// Points have no colours and no sides.
pub(crate) fn of_points(spec: &RunSpec) -> Option<Finding> {
    const AUGMENT: &str = "augment";
    const SOURCE: &str = "data.source";
    if !spec.augment.is_on() || spec.data.source.gives_pictures() {
        return None;
    }
    Some(Finding {
        path: AUGMENT,
        about: vec![AUGMENT, SOURCE],
        found: "on".to_owned(),
        accepted: format!("it changes pictures, and the {} source gives 2-D points", spec.data.source.word()),
        fix: "Remove it.".to_owned(),
    })
}
