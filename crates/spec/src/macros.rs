//! A type, its serde and its rows from one text: a field is one row, and its doc comment is its English.

/// A struct of fields: `name: Type => what its row says,`.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        $section:ident $(: $($derive:ident),+)? {
            $(
                $(#[doc = $help:literal])+
                $(#[serde($($serde:tt)+)])?
                $name:ident: $type:ty => $field:expr,
            )+
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize $($(, $derive)+)?)]
        #[serde(deny_unknown_fields)]
        pub struct $section {
            $(
                $(#[doc = $help])+
                $(#[serde($($serde)+)])?
                pub $name: $type,
            )+
        }

        impl $crate::table::Described for $section {
            const KIND: $crate::table::Kind = {
                const ROWS: &[$crate::table::Row] = &[$($crate::table::Row {
                    name: $crate::macros::plain(stringify!($name)),
                    help: concat!($($help, "\n"),+),
                    field: $field,
                }),+];
                $crate::table::Kind::Section(ROWS)
            };
        }
    };
}

/// An enum of which exactly one variant is chosen, with what belongs to it: `Variant = "word" { fields },`, or
/// `Variant = "word" (Type => what its row says),`.
macro_rules! choice {
    (
        $(#[doc = $about:literal])*
        $choice:ident $(: $($derive:ident),+)? {
            $(
                $(#[doc = $help:literal])+
                $variant:ident = $word:tt
                $(($inner:ty => $row:expr))?
                $({ $(
                    $(#[doc = $field_help:literal])+
                    $name:ident: $type:ty => $field:expr,
                )* })?,
            )+
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize $($(, $derive)+)?)]
        #[serde(deny_unknown_fields)]
        pub enum $choice {
            $(
                $(#[doc = $help])+
                #[serde(rename = $word)]
                $variant $(($inner))? $({ $($(#[doc = $field_help])+ $name: $type,)* })?,
            )+
        }

        impl $choice {
            /// The word that chooses this variant.
            #[must_use]
            pub fn word(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $word,)+
                }
            }
        }

        impl $crate::table::Described for $choice {
            const KIND: $crate::table::Kind = {
                const ROWS: &[$crate::table::Row] = &[$($crate::table::Row {
                    name: $word,
                    help: concat!($($help, "\n"),+),
                    field: {
                        $($row)?
                        $(
                            const ROWS: &[$crate::table::Row] = &[$($crate::table::Row {
                                name: $crate::macros::plain(stringify!($name)),
                                help: concat!($($field_help, "\n"),+),
                                field: $field,
                            }),*];
                            $crate::table::field($crate::table::Kind::Section(ROWS))
                        )?
                    },
                }),+];
                $crate::table::Kind::Choice(ROWS)
            };
        }
    };
}

/// An enum of words, each with its meaning: `Variant = "word",`.
macro_rules! words {
    (
        $(#[doc = $about:literal])*
        $words:ident { $($(#[doc = $help:literal])+ $variant:ident = $word:tt,)+ }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $words {
            $(
                $(#[doc = $help])+
                #[serde(rename = $word)]
                $variant,
            )+
        }

        impl $words {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that a file has for it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl $crate::table::Described for $words {
            const KIND: $crate::table::Kind = {
                const WORDS: &[$crate::table::Word] =
                    &[$($crate::table::Word { name: $word, help: concat!($($help, "\n"),+) }),+];
                $crate::table::Kind::Words(WORDS)
            };
        }
    };
}

/// A field's name as a file has it. In Rust one that is a keyword is written `r#where`.
pub(crate) const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

pub(crate) use {choice, section, words};
