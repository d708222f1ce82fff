//! The command that goes back: a branch of a run from a snapshot of before it went wrong.

use std::path::Path;

/// The longest name that a run may have.
const NAME_LEN_MAX: usize = 63;

/// The snapshot that a branch begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The one with the best score, of this step.
    Best(u64),
    /// One without a score, of this step.
    Step(u64),
}

/// A branch of the run in `dir` that a shell can start as it stands, from the folder where the run was started: paths in its
/// file may be relative.
pub(crate) fn command(dir: &Path, run: &str, from: From, workers: u64) -> String {
    let (step, which) = match from {
        From::Best(step) => (step, "--from best".to_owned()),
        From::Step(step) => (step, format!("--fork-at {step}")),
    };
    let end = format!("-from-{step}");
    let begin: String = run.chars().take(NAME_LEN_MAX - end.len()).collect();
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let dir = word(&dir.to_string_lossy());
    let workers = if workers > 1 { format!(" --workers {workers}") } else { String::new() };
    format!("lsgan up --config {dir} --fork {begin}{end} {which}{workers}")
}

/// A text as one word of a shell.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_that_a_shell_reads_as_it_is_meant() {
        assert_eq!(
            command(Path::new("/nowhere/my run's"), "a.b", From::Best(40), 2),
            r"lsgan up --config '/nowhere/my run'\''s' --fork a.b-from-40 --from best --workers 2"
        );
        let long = command(Path::new("/nowhere/a"), &"a".repeat(63), From::Step(7), 1);
        let name = format!("{}-from-7", "a".repeat(56));
        assert_eq!(long, format!("lsgan up --config /nowhere/a --fork {name} --fork-at 7"));
        assert_eq!(lsgan_spec::checked_name(&name), Ok(name));
    }
}
