//! Drives the control machine with simulated workers, faults and a seed.
