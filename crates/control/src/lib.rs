//! Pure: the run's state machine, events in, effects out.
