//! How keys are declared: once, with type, default, range and meaning. From that one table come the typed sections,
//! the check for unknown keys, `postrider config`, and the reference in the documentation.

use super::error::Problem;
use super::given::Given;
use super::value::Value;

/// One key, as it is documented.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// `section.key`, or only a key at the top; a section may lie in another one.
    pub(crate) path: &'static str,
    /// What a value looks like.
    pub(crate) expected: &'static str,
    /// As text.
    pub(crate) default: &'static str,
    /// The smallest and the largest value.
    pub(crate) range: Option<(&'static str, &'static str)>,
    /// What it does.
    pub(crate) meaning: &'static str,
    /// Whether errors must not show the value.
    pub(crate) secret: bool,
    /// Whether a file may write it as a table.
    pub(crate) table: bool,
}

impl Key {
    /// Declares a key of type `T`.
    pub(super) const fn of<T: Value>(
        path: &'static str,
        default: &'static str,
        range: Option<(&'static str, &'static str)>,
        meaning: &'static str,
    ) -> Self {
        Self {
            path,
            expected: T::EXPECTED,
            default,
            range,
            meaning,
            secret: T::SECRET,
            table: T::TABLE,
        }
    }

    /// The name of the variable that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("POSTRIDER__{}", self.path.replace('.', "__").to_uppercase())
    }

    /// What would be right, range included.
    pub(crate) fn expectation(&self) -> String {
        match self.range {
            Some((low, high)) => format!("{}, from {low} to {high}", self.expected),
            None => self.expected.to_owned(),
        }
    }
}

/// The value of `key`: what was given, or its default. Leaves a problem and returns none if that cannot be.
pub(super) fn read<T: Value>(key: &Key, given: &Given, problems: &mut Vec<Problem>) -> Option<T> {
    let leaf = given.leaf(key.path);
    let text = leaf.map_or(key.default, |leaf| leaf.text.as_str());
    T::read(text)
        .map_err(|why| problems.push(Problem::of_value(key, text, leaf, why)))
        .ok()
}

/// As [`read`], and the value must lie in the key's range.
pub(super) fn read_within<T: Value + PartialOrd>(
    key: &Key,
    given: &Given,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let value: T = read(key, given, problems)?;
    let (low, high) = key.range?;
    let inside =
        T::read(low).is_ok_and(|low| value >= low) && T::read(high).is_ok_and(|high| value <= high);
    if inside {
        return Some(value);
    }
    let leaf = given.leaf(key.path);
    let text = leaf.map_or(key.default, |leaf| leaf.text.as_str());
    problems.push(Problem::of_value(key, text, leaf, String::new()));
    None
}

/// Declares all keys: those at the top, then sections.
macro_rules! keys {
    (
        { $( $top:ident : $top_ty:ty = $top_default:literal ; $top_meaning:literal )* }
        $( $section:ident : $Section:ident in $at:literal {
            $( $key:ident : $ty:ty = $default:literal $( , $low:literal ..= $high:literal )? ; $meaning:literal )*
        } )*
    ) => {
        /// The whole configuration.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct Config {
            $( #[doc = $top_meaning] pub(crate) $top: $top_ty, )*
            $( #[doc = concat!("The section `", $at, "`.")] pub(crate) $section: $Section, )*
        }

        $(
            #[doc = concat!("The section `", $at, "`.")]
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub(crate) struct $Section {
                $( #[doc = $meaning] pub(crate) $key: $ty, )*
            }
        )*

        /// Every key, in the order in which it is documented.
        pub(crate) const KEYS: &[Key] = &[
            $( Key::of::<$top_ty>(stringify!($top), $top_default, None, $top_meaning), )*
            $( $( keys!(@key $at, $key, $ty, $default, $meaning $( , $low, $high )?), )* )*
        ];

        impl Config {
            /// Reads every key, so that all problems are found at once; none if there is one.
            pub(super) fn read(given: &Given, problems: &mut Vec<Problem>) -> Option<Self> {
                $( let $top = declare::read(
                    &Key::of::<$top_ty>(stringify!($top), $top_default, None, $top_meaning), given, problems); )*
                $( let $section = $Section::read(given, problems); )*
                Some(Self { $( $top: $top?, )* $( $section: $section?, )* })
            }

            /// Whether each value is that of another configuration, in the order of [`KEYS`].
            pub(super) fn compared(&self, other: &Self) -> Vec<bool> {
                vec![
                    $( self.$top == other.$top, )*
                    $( $( self.$section.$key == other.$section.$key, )* )*
                ]
            }

            /// Every value as TOML, in the order of [`KEYS`].
            pub(super) fn values(&self) -> Vec<String> {
                vec![
                    $( Value::toml(&self.$top), )*
                    $( $( Value::toml(&self.$section.$key), )* )*
                ]
            }
        }

        $( impl $Section {
            fn read(given: &Given, problems: &mut Vec<Problem>) -> Option<Self> {
                $( let $key = keys!(@read given, problems, $at, $key, $ty, $default, $meaning $( , $low, $high )?); )*
                Some(Self { $( $key: $key?, )* })
            }
        } )*
    };
    (@key $at:literal, $key:ident, $ty:ty, $default:literal, $meaning:literal) => {
        Key::of::<$ty>(concat!($at, ".", stringify!($key)), $default, None, $meaning)
    };
    (@key $at:literal, $key:ident, $ty:ty, $default:literal, $meaning:literal, $low:literal, $high:literal) => {
        Key::of::<$ty>(concat!($at, ".", stringify!($key)), $default, Some(($low, $high)), $meaning)
    };
    (@read $given:ident, $problems:ident, $at:literal, $key:ident, $ty:ty, $default:literal, $meaning:literal) => {
        declare::read::<$ty>(&keys!(@key $at, $key, $ty, $default, $meaning), $given, $problems)
    };
    (@read $given:ident, $problems:ident, $at:literal, $key:ident, $ty:ty, $default:literal, $meaning:literal, $low:literal, $high:literal) => {
        declare::read_within::<$ty>(&keys!(@key $at, $key, $ty, $default, $meaning, $low, $high), $given, $problems)
    };
}

pub(super) use keys;
