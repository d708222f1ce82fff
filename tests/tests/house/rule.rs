//! Checking a rule: what breaks it, less the exceptions, all of which must be needed.

/// A place where a rule does not hold, and why that is right.
pub type Exception<'a> = (&'a str, &'a str);

/// What is wrong with the state of a rule: each `(place, what)` that breaks it where no exception is made, and each
/// exception that nothing needs.
pub fn broken(found: &[(String, String)], exceptions: &[Exception]) -> Vec<String> {
    let is_excepted = |place: &str| exceptions.iter().any(|(excepted, _)| *excepted == place);
    let breaks = found.iter().filter(|(place, _)| !is_excepted(place)).map(|(_, what)| what.clone());
    let unneeded = exceptions.iter().filter(|(excepted, _)| found.iter().all(|(place, _)| place != excepted));
    let unneeded =
        unneeded.map(|(place, _)| format!("{place}: this exception is not needed any more. Remove it."));
    breaks.chain(unneeded).collect()
}

/// Fails with the rule and all that break it.
#[track_caller]
pub fn assert_rule(rule: &str, broken: impl IntoIterator<Item = String>) {
    let broken: Vec<_> = broken.into_iter().collect();
    assert!(broken.is_empty(), "{rule}\n  {}", broken.join("\n  "));
}

/// Fails with the rule, all places that break it and are no exceptions, and all exceptions that are not needed.
#[track_caller]
pub fn assert_with_exceptions(rule: &str, found: &[(String, String)], exceptions: &[Exception]) {
    assert_rule(rule, broken(found, exceptions));
}

#[test]
fn an_exception_allows_its_place_and_fails_once_nothing_needs_it() {
    let found =
        [("a.rs".to_owned(), "a.rs:1: sleeps".to_owned()), ("b.rs".to_owned(), "b.rs:2: sleeps".to_owned())];
    assert_eq!(broken(&found, &[("b.rs", "it waits")]), ["a.rs:1: sleeps"]);
    assert_eq!(broken(&found, &[("a.rs", "it waits"), ("b.rs", "it waits")]), [""; 0]);
    let gone = broken(&found[..1], &[("a.rs", "it waits"), ("b.rs", "it waits")]);
    assert_eq!(gone, ["b.rs: this exception is not needed any more. Remove it."]);
}
