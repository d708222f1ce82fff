//! The shell around control: gRPC, journal, catalogue.
