//! The mathematics on libtorch: models, objectives, the exact sum, the step.
