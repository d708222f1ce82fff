//! Patterns with braces: `train-{000000..000099}.tar`, `{left,right}/{0..9}.tar`.

/// More than the shards of any data set.
const NAMES_MAX: usize = 1 << 20;

/// All names of a pattern, the last brace fastest. A pattern without braces is one name.
///
/// A range of whole numbers keeps its leading zeros, and may descend. Braces do not nest.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some(open) = rest.find(['{', '}']) {
        let (text, braced) = rest.split_at(open);
        let inner = braced.strip_prefix('{').ok_or("a } has no { before it")?;
        let (inner, behind) = inner.split_once('}').ok_or("a { has no } behind it")?;
        if inner.contains('{') {
            return Err("braces lie in braces".to_owned());
        }
        let choices = choices(inner)?;
        if names.len().saturating_mul(choices.len()) > NAMES_MAX {
            return Err(format!("it makes more than {NAMES_MAX} names"));
        }
        names = names
            .iter()
            .flat_map(|name| choices.iter().map(move |choice| format!("{name}{text}{choice}")))
            .collect();
        rest = behind;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

/// A pattern for the sorted `names`: a range if they are numbered without a gap, else a list. None if there are no names,
/// or if one contains a character with a meaning in braces.
pub(super) fn pattern(names: &[String]) -> Option<String> {
    let (first, last) = (names.first()?, names.last()?);
    let has_meaning = |name: &String| name.contains(['{', '}', ',']) || name.contains("..");
    if names.iter().any(has_meaning) {
        return None;
    }
    if let [name] = names {
        return Some(name.clone());
    }
    let digits = first.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (stem, begin) = first.split_at(first.len() - digits);
    let ranged = format!("{stem}{{{begin}..{}}}", last.strip_prefix(stem).unwrap_or_default());
    if expand(&ranged).is_ok_and(|expanded| expanded == names) {
        return Some(ranged);
    }
    Some(format!("{{{}}}", names.join(",")))
}

fn choices(inner: &str) -> Result<Vec<String>, String> {
    if let Some((first, last)) = inner.split_once("..") {
        return range(first, last)
            .ok_or_else(|| format!("{{{inner}}} is no range of at most 2^20 whole numbers"));
    }
    let choices: Vec<String> = inner.split(',').map(str::to_owned).collect();
    if choices.len() < 2 {
        return Err(format!("{{{inner}}} is neither a range (a..b) nor a list (a,b)"));
    }
    Ok(choices)
}

fn range(first: &str, last: &str) -> Option<Vec<String>> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    let has_zeros = [first, last].into_iter().any(|text| text.len() > 1 && text.starts_with('0'));
    let width = if has_zeros { first.len().max(last.len()) } else { 0 };
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    if first.abs_diff(last) >= NAMES_MAX as u64 {
        return None;
    }
    let name = |number: u64| format!("{number:0width$}");
    Some(if first <= last {
        (first..=last).map(name).collect()
    } else {
        (last..=first).rev().map(name).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_lists_make_names() {
        for (pattern, wanted) in [
            ("a.tar", "a.tar"),
            ("a-{08..11}.tar", "a-08.tar a-09.tar a-10.tar a-11.tar"),
            ("a-{8..11}.tar", "a-8.tar a-9.tar a-10.tar a-11.tar"),
            ("{2..0}", "2 1 0"),
            ("{x,y}/{0..1}.tar", "x/0.tar x/1.tar y/0.tar y/1.tar"),
            ("a{,b}c", "ac abc"),
            ("s3://bucket/{000..001}", "s3://bucket/000 s3://bucket/001"),
        ] {
            assert_eq!(expand(pattern).unwrap(), wanted.split(' ').collect::<Vec<_>>(), "{pattern}");
        }
    }

    #[test]
    fn names_make_the_pattern_that_makes_them() {
        for (names, wanted) in [
            ("a", "a"),
            ("s-000 s-001 s-002", "s-{000..002}"),
            ("s-000 s-002", "{s-000,s-002}"),
            ("1 2 3", "{1..3}"),
            ("left right", "{left,right}"),
        ] {
            let names: Vec<String> = names.split(' ').map(str::to_owned).collect();
            let pattern = pattern(&names).unwrap();
            assert_eq!(pattern, wanted);
            assert_eq!(expand(&pattern).unwrap(), names);
        }
        assert_eq!(pattern(&[]), None);
        assert_eq!(pattern(&["a,b".to_owned()]), None);
    }

    #[test]
    fn braces_that_make_no_names_are_refused() {
        for (pattern, reason) in [
            ("a{1..", "a { has no } behind it"),
            ("a}b", "a } has no { before it"),
            ("{a{b,c}}", "braces lie in braces"),
            ("{a}", "{a} is neither a range (a..b) nor a list (a,b)"),
            ("{}", "{} is neither a range (a..b) nor a list (a,b)"),
            ("{a..c}", "{a..c} is no range of at most 2^20 whole numbers"),
            ("{0..99999999999}", "{0..99999999999} is no range of at most 2^20 whole numbers"),
            ("{0..9999}{0..9999}", "it makes more than 1048576 names"),
        ] {
            assert_eq!(expand(pattern), Err(reason.to_owned()), "{pattern}");
        }
    }

    #[test]
    fn names_that_braces_would_read_otherwise_have_no_pattern() {
        for name in ["a..b", "a,b", "{a"] {
            assert_eq!(pattern(&["a".to_owned(), name.to_owned()]), None, "{name}");
        }
    }

    #[test]
    fn a_name_that_comes_twice_is_there_twice_in_the_pattern() {
        let twice = ["a".to_owned(), "a".to_owned()];
        assert_eq!(expand(&pattern(&twice).expect("it has no braces")), Ok(twice.to_vec()));
    }

    #[test]
    fn fuzz_braces() {
        let examples = ["train-{000..012}.tar", "{a,b}/{0..9}.tar", "s3://bucket/{5..1}", "plain.tar"];
        let examples = examples.map(|text| text.as_bytes().to_vec());
        lsgan_fuzz::Fuzz::new("braces", examples).peak_max(512 << 20).run(|bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return "not UTF-8".to_owned() };
            match expand(text) {
                Ok(mut names) => {
                    assert!((1..=NAMES_MAX).contains(&names.len()));
                    names.sort();
                    names.truncate(100);
                    let again = pattern(&names).map(|pattern| expand(&pattern));
                    assert!(again.is_none_or(|again| again == Ok(names.clone())), "{names:?}");
                    format!("ok {}", "i".repeat(names.len()))
                }
                Err(reason) => reason,
            }
        });
    }
}
