//! `lsgan schema`: what a run's file can have, for editors and for people.

use lsgan_console::{Failure, product};

/// What can be said on the command line of `lsgan schema`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Print every field with its meaning and default as a run's file, instead of the JSON schema.
    #[arg(long)]
    reference: bool,
}

/// Prints the JSON schema of a run's file, or the reference.
///
/// # Errors
/// Standard output takes no more.
pub fn schema(args: &Args) -> Result<(), Failure> {
    let text = if args.reference { lsgan_runfile::reference() } else { lsgan_runfile::schema() };
    product!("{}", text.trim_end())
}
