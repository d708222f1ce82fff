//! `lsgan certs`: certificates for those without an authority of their own.

use std::path::{Path, PathBuf};

use lsgan_certs::authority::{Authority, Name, Wanted};
use lsgan_certs::{Error, Role};
use lsgan_console::{Failure, product};

/// How long certificates are valid where nothing else is said.
const DAYS: i64 = 365;

/// What a role is.
const ROLES: &str = "A process shows its role by its certificate: a coordinator leads the run, a worker trains, an operator may \
                     ask, stop, pause and scale, a viewer may ask. All processes of a run have certificates of one authority.";

/// The arguments of `lsgan certs`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = ROLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Make an authority in an empty or new directory, and a folder with a certificate for each role.
    ///
    /// `--tls DIR` then does for every process on this machine. Take to another machine only the folder that it needs, as
    /// DIR/worker: `ca.key` makes certificates of any role and is best kept where no process of the run is.
    Init {
        /// The directory.
        dir: PathBuf,
        #[command(flatten)]
        wanted: WantedArgs,
    },
    /// Make another certificate of a role.
    Issue {
        /// coordinator, worker, operator or viewer.
        role: Role,
        /// The authority's directory.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// The folder that is made, by default the role's in the authority's directory.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        #[command(flatten)]
        wanted: WantedArgs,
    },
    /// Give certificates more time, also those that have expired. Keys, roles and names stay. Processes that run take
    /// them without a restart.
    Renew {
        /// Certificates, as `certs/worker/tls.crt`.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// The authority's directory, by default the one above the certificate's folder.
        #[arg(long, value_name = "DIR")]
        ca: Option<PathBuf>,
        /// How many days from now, by default as many as it had.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=36_500))]
        days: Option<i64>,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct WantedArgs {
    /// A host that a coordinator's certificate is good for, as a DNS name or an IP address; may be given again. Without any it
    /// is good for every host.
    #[arg(long = "name", value_name = "DNS|IP")]
    names: Vec<Name>,
    /// How many days it is valid.
    #[arg(long, value_name = "N", default_value_t = DAYS, value_parser = clap::value_parser!(i64).range(1..=36_500))]
    days: i64,
}

impl From<WantedArgs> for Wanted {
    fn from(WantedArgs { names, days }: WantedArgs) -> Self {
        Self { names, days }
    }
}

/// Makes certificates.
///
/// # Errors
/// Exit code 2 for what would be overwritten, and for files that are not what they are to be; 1 where the system does not
/// read or write.
pub fn certs(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Init { dir, wanted } => {
            Authority::init(&dir, &wanted.into()).map_err(failure)?;
            product!("an authority and a certificate for each role are in {}", dir.display())?;
            product!(
                "on this machine every process takes --tls {0}; another one needs {0}/ROLE",
                dir.display()
            )?;
            product!(
                "{}/ca.key makes certificates of any role: keep it where no process of the run is",
                dir.display()
            )
        }
        Command::Issue { role, ca, out, wanted } => {
            let folder = Authority::open(&ca).and_then(|ca| ca.issue(role, &wanted.into(), out.as_deref()));
            product!("the certificate of a new {role} is in {}", folder.map_err(failure)?.display())
        }
        Command::Renew { files, ca, days } => {
            for file in files {
                let ca = ca.clone().unwrap_or_else(|| above(&file));
                let days = Authority::open(&ca).and_then(|ca| ca.renew(&file, days)).map_err(failure)?;
                product!("{} is valid for {days} days", file.display())?;
            }
            Ok(())
        }
    }
}

fn failure(error: Error) -> Failure {
    match &error {
        Error::Io { .. } | Error::Make(_) => Failure::failed(error),
        _ => Failure::bad_input(error),
    }
}

/// The directory above a file's folder.
fn above(file: &Path) -> PathBuf {
    file.parent().map_or_else(|| PathBuf::from(".."), |folder| folder.join(".."))
}
