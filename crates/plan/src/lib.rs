//! Pure: which records and which noise each virtual rank sees at each step.
