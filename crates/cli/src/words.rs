//! Arguments whose values are the words of a field of a run's file.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use lsgan_spec::table::{Described, Kind};
use serde::de::DeserializeOwned;

/// Reads one of the words of `T`. The help lists them with their meanings.
pub fn words<T: Described + DeserializeOwned + Clone + Send + Sync + 'static>()
-> impl TypedValueParser<Value = T> {
    let Kind::Words(words) = T::KIND else { unreachable!("only fields of words are read so") };
    let values = words.iter().map(|word| PossibleValue::new(word.name).help(word.help.trim()));
    PossibleValuesParser::new(values)
        .map(|word| serde_json::from_value(word.into()).expect("clap has let only these words pass"))
}
