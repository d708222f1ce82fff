//! The files that `aws configure` writes: `~/.aws/credentials` and `~/.aws/config`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use configparser::ini::Ini;
use object_store::aws::AwsCredential;

use crate::Error;
use crate::environment::Environment;
use crate::secrets::unusable;

/// Settings of a profile that name a source of credentials which only the AWS tools implement.
const OTHER_WAYS: [&str; 6] = [
    "credential_process",
    "sso_session",
    "sso_start_url",
    "role_arn",
    "web_identity_token_file",
    "login_session",
];

/// The paths of the two files and the name of the profile.
#[derive(Clone, Debug)]
pub(crate) struct ProfileFiles {
    pub(crate) credentials: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) profile: String,
    /// The user named the profile, so it must exist.
    chosen: bool,
}

/// The settings of a profile that the client uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    /// `virtual`, `path` or `auto`.
    pub(crate) addressing_style: Option<String>,
}

impl ProfileFiles {
    pub(crate) fn of(environment: &Environment) -> Self {
        let home = environment.get("HOME").map(PathBuf::from).unwrap_or_default();
        let file = |variable: &str, usual: &str| {
            environment.get(variable).map_or_else(|| home.join(".aws").join(usual), PathBuf::from)
        };
        let chosen = environment.get("AWS_PROFILE").or_else(|| environment.get("AWS_DEFAULT_PROFILE"));
        Self {
            credentials: file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            config: file("AWS_CONFIG_FILE", "config"),
            chosen: chosen.is_some(),
            profile: chosen.cloned().unwrap_or_else(|| "default".to_owned()),
        }
    }

    pub(crate) fn settings(&self) -> Result<Profile, Error> {
        let config = read(&self.config)?;
        let value = |key: &str| config.get(&self.section(), key).filter(|value| !value.is_empty());
        let (region, endpoint) = (value("region"), value("endpoint_url"));
        for (key, value) in [("region", &region), ("endpoint_url", &endpoint)] {
            self.check(&self.config, key, value.as_deref())?;
        }
        Ok(Profile { region, endpoint, addressing_style: value("addressing_style") })
    }

    /// The profile's keys; none if the profile is missing and the user did not name it.
    pub(crate) fn keys(&self) -> Result<Option<AwsCredential>, Error> {
        let (credentials, config) = (read(&self.credentials)?, read(&self.config)?);
        let places = [
            (&credentials, self.profile.clone(), &self.credentials),
            (&config, self.section(), &self.config),
        ];
        for (ini, section, path) in &places {
            let value = |key: &str| ini.get(section, key).filter(|value| !value.is_empty());
            let half = |has, lacks| Error::HalfAKey {
                place: format!("[{section}] of {}", path.display()),
                has,
                lacks,
            };
            match (value("aws_access_key_id"), value("aws_secret_access_key")) {
                (Some(key_id), Some(secret_key)) => {
                    let token = value("aws_session_token");
                    self.check(path, "aws_access_key_id", Some(&key_id))?;
                    self.check(path, "aws_secret_access_key", Some(&secret_key))?;
                    self.check(path, "aws_session_token", token.as_deref())?;
                    return Ok(Some(AwsCredential { key_id, secret_key, token }));
                }
                (Some(_), None) => return Err(half("aws_access_key_id", "aws_secret_access_key")),
                (None, Some(_)) => return Err(half("aws_secret_access_key", "aws_access_key_id")),
                (None, None) => {}
            }
        }
        for (ini, section, _) in &places {
            if let Some(way) = OTHER_WAYS.into_iter().find(|way| ini.get(section, way).is_some()) {
                return Err(Error::ProfileWay { profile: self.profile.clone(), way });
            }
        }
        let is_there = places.iter().any(|(ini, section, _)| ini.sections().contains(section));
        if self.chosen && !is_there {
            return Err(self.unknown(&credentials, &config));
        }
        Ok(None)
    }

    /// Refuses a value that cannot become a header.
    fn check(&self, path: &Path, key: &str, value: Option<&str>) -> Result<(), Error> {
        match value.and_then(|value| unusable(value, false)) {
            Some(problem) => {
                let problem = format!("{key} of the profile `{}` cannot be used: {problem}", self.profile);
                Err(Error::File { path: path.to_owned(), problem })
            }
            None => Ok(()),
        }
    }

    /// The profile's section in `config`; in `credentials` the section has the plain name.
    fn section(&self) -> String {
        match self.profile.as_str() {
            "default" => "default".to_owned(),
            name => format!("profile {name}"),
        }
    }

    fn unknown(&self, credentials: &Ini, config: &Ini) -> Error {
        let of_config = config.sections().into_iter();
        let of_config = of_config.map(|name| name.strip_prefix("profile ").unwrap_or(&name).to_owned());
        let known: BTreeSet<String> = credentials.sections().into_iter().chain(of_config).collect();
        let known = if known.is_empty() { "none".to_owned() } else { Vec::from_iter(known).join(", ") };
        Error::NoProfile {
            profile: self.profile.clone(),
            credentials: self.credentials.clone(),
            config: self.config.clone(),
            known,
        }
    }
}

/// Reads an INI file. A missing file counts as empty, as with the AWS tools.
fn read(path: &Path) -> Result<Ini, Error> {
    let wrong = |problem: String| Error::File { path: path.to_owned(), problem };
    let mut ini = Ini::new_cs();
    let mut rules = ini.defaults();
    // A secret may contain any character: a comment begins only at the start of a line, and only `=` ends a key.
    rules.delimiters = vec!['='];
    rules.comment_symbols = vec!['#', ';'];
    rules.inline_comment_symbols = Some(Vec::new());
    ini.load_defaults(rules);
    match std::fs::read_to_string(path) {
        Ok(text) => ini.read(text).map(drop).map_err(wrong)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(wrong(error.to_string())),
    }
    Ok(ini)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(credentials: &str, config: &str, profile: Option<&str>) -> (tempfile::TempDir, ProfileFiles) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("credentials"), credentials).unwrap();
        std::fs::write(dir.path().join("config"), config).unwrap();
        let mut environment = Environment::from([
            ("AWS_SHARED_CREDENTIALS_FILE".to_owned(), dir.path().join("credentials").display().to_string()),
            ("AWS_CONFIG_FILE".to_owned(), dir.path().join("config").display().to_string()),
        ]);
        environment.extend(profile.map(|profile| ("AWS_PROFILE".to_owned(), profile.to_owned())));
        let files = ProfileFiles::of(&environment);
        (dir, files)
    }

    const CREDENTIALS: &str = "# comment\n[default]\naws_access_key_id = AKIA\naws_secret_access_key = a/b+c=;#d\n\n\
        [lab]\naws_access_key_id=LAB\naws_secret_access_key=s\naws_session_token = t==\n[half]\naws_access_key_id = x\n";
    const CONFIG: &str = "[default]\nregion = eu-central-1\n[profile lab]\nregion=lab-1\nendpoint_url = http://box:8333\n\
        s3 =\n    addressing_style = virtual\n[profile sso]\nsso_session = corp\n";

    #[test]
    fn keys_and_settings_are_those_of_the_profile() {
        let (_dir, default) = files(CREDENTIALS, CONFIG, None);
        let keys = default.keys().unwrap().unwrap();
        assert_eq!((keys.key_id.as_str(), keys.secret_key.as_str(), keys.token), ("AKIA", "a/b+c=;#d", None));
        assert_eq!(default.settings().unwrap().region.as_deref(), Some("eu-central-1"));
        let (_dir, lab) = files(CREDENTIALS, CONFIG, Some("lab"));
        let keys = lab.keys().unwrap().unwrap();
        assert_eq!((keys.key_id.as_str(), keys.token.as_deref()), ("LAB", Some("t==")));
        let settings = lab.settings().unwrap();
        assert_eq!(settings.endpoint.as_deref(), Some("http://box:8333"));
        assert_eq!(settings.addressing_style.as_deref(), Some("virtual"));
    }

    #[test]
    fn a_profile_that_is_missing_half_or_of_another_way_is_named() {
        let (_dir, mistyped) = files(CREDENTIALS, CONFIG, Some("labb"));
        let error = mistyped.keys().map(drop).unwrap_err().to_string();
        assert!(error.contains("there are: default, half, lab, sso."), "{error}");
        let (_dir, half) = files(CREDENTIALS, CONFIG, Some("half"));
        assert!(matches!(half.keys(), Err(Error::HalfAKey { lacks: "aws_secret_access_key", .. })));
        let (_dir, sso) = files(CREDENTIALS, CONFIG, Some("sso"));
        assert!(matches!(sso.keys(), Err(Error::ProfileWay { way: "sso_session", .. })));
        let nowhere = ProfileFiles::of(&Environment::from([("HOME".to_owned(), "/nonexistent".to_owned())]));
        assert!(nowhere.keys().unwrap().is_none());
        assert_eq!(nowhere.settings().unwrap(), Profile::default());
    }
}
