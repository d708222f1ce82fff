//! All-reduce and broadcast between workers, abortable at once.
