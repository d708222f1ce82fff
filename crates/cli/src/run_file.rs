//! The run's file of `lsgan up`: a file, or the directory of a run, whose journal has it.

use lsgan_console::Failure;
use lsgan_journal::LastWords;
use lsgan_launch::RunArgs;
use lsgan_runfile::RunFile;
use lsgan_spec::{RunSpec, Webhook};

use crate::place::waiting;

/// Reads the run's file with its overrides. `--config DIR` is the file as the run in DIR has it, and means the run in DIR.
///
/// # Errors
/// All that is wrong with it, with exit code 2.
pub(crate) fn load(run: &mut RunArgs) -> Result<RunFile, Failure> {
    let dir = run.config.as_deref().filter(|path| path.is_dir());
    let last = dir.map(|dir| waiting(|| LastWords::of(dir))).transpose()?.flatten();
    if let (Some(dir), Some(yaml)) = (dir, last.and_then(|last| last.spec_yaml)) {
        let name = format!("the file of the run in {}", dir.display());
        let spec = lsgan_runfile::parse(&yaml, &name, &run.sets);
        let spec = spec.map_err(|errors| Failure::bad_input(errors.render_plain()))?;
        // A branch lies beside it, whatever the path is that names it.
        let dir = dir.canonicalize()?;
        run.run_dir.get_or_insert(dir);
        // All that the run has stands there, defaults included.
        run.resolved = Some(Box::new(RunFile { spec, sets_mix: true }));
    }
    run.load_file()
}

/// What a process gets by its environment that its arguments do not have: other users of this machine may read them.
pub(crate) fn secrets(spec: &RunSpec) -> Vec<(&'static str, String)> {
    spec.alerts.webhook.url(None).map(|url| (Webhook::VARIABLE, url)).into_iter().collect()
}
