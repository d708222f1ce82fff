//! The files of deploy/kubernetes: kustomize renders them, alone and with each component. `scripts/check-deploy` looks at what comes
//! out, and deploy/kubernetes/e2e runs it.
//!
//! Without kubectl these tests are counted as skipped, by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use lsgan_tests::binaries::root;
use lsgan_tests::tests;
use lsgan_tests::trials::{run, trials};
use tempfile::TempDir;

fn main() -> ExitCode {
    run(trials(
        &possible(),
        tests![
            the_kustomization_renders_two_jobs_and_nothing_that_is_deleted_with_the_weights,
            every_component_renders_with_all_the_others_in_both_orders,
        ],
    ))
}

fn possible() -> Result<(), String> {
    let version = Command::new("kubectl").args(["version", "--client"]).output();
    match version {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("kubectl is not installed".to_owned()),
    }
}

/// What `kubectl kustomize` makes of a folder.
#[track_caller]
fn rendered(folder: &Path) -> String {
    let output = Command::new("kubectl").arg("kustomize").arg(folder).output().expect("it is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", folder.display());
    String::from_utf8(output.stdout).expect("YAML is UTF-8")
}

fn count(text: &str, line: &str) -> usize {
    text.lines().filter(|found| *found == line).count()
}

fn the_kustomization_renders_two_jobs_and_nothing_that_is_deleted_with_the_weights() {
    let text = rendered(&root().join("deploy/kubernetes"));
    assert_eq!(count(&text, "kind: Job"), 2);
    // `kubectl delete --kustomize` would take the claim, and the weights with it.
    assert_eq!(count(&text, "kind: PersistentVolumeClaim"), 0);
    // The scale of a live run is not undone by another `kubectl apply`.
    assert_eq!(text.matches("parallelism:").count(), 1, "the coordinator's alone");
}

fn every_component_renders_with_all_the_others_in_both_orders() {
    let folder = root().join("deploy/kubernetes/components");
    let mut components: Vec<PathBuf> = fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    components.sort();
    assert!(components.len() >= 5, "{components:?}");
    let mut texts = Vec::new();
    for _ in 0..2 {
        texts.push(rendered(overlay(&components).path()));
        components.reverse();
    }
    for text in texts {
        for line in [
            "            nvidia.com/gpu: 8",
            "        - --grace=15s",
            "        - --run-dir=/var/lib/lsgan/run",
            "        - --http=[::]:8090",
            "        prometheus.io/port: \"8090\"",
        ] {
            assert_eq!(count(&text, line), 1, "`{line}` is in what all components make");
        }
        assert_eq!(text.matches("claimName:").count(), 1, "with s3 the coordinator's alone");
        assert!(!text.contains("--http-actions"), "the page only shows");
    }
    for component in &components {
        rendered(overlay(std::slice::from_ref(component)).path());
    }
}

/// A folder beside deploy/kubernetes that adds these components, as a user's would.
fn overlay(components: &[PathBuf]) -> TempDir {
    let above = root().join("deploy");
    let dir = TempDir::with_prefix_in(".overlay-", &above).expect("a folder can be made");
    let relative = |path: &Path| format!("../{}", path.strip_prefix(&above).expect("it is below").display());
    let list: String = components.iter().map(|path| format!("  - {}\n", relative(path))).collect();
    let text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - ../kubernetes\ncomponents:\n{list}"
    );
    fs::write(dir.path().join("kustomization.yaml"), text).expect("it can be written");
    dir
}
