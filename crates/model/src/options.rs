//! What services say of options that are out of their range.

/// An option that is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} is out of range: expected {expected}")]
pub struct OptionsError {
    /// Which.
    pub option: &'static str,
    /// What would be right.
    pub expected: &'static str,
}

/// Those of the options, each with what is expected of it, that are not in their range.
pub fn out_of_range<const N: usize>(
    in_range: [(&'static str, &'static str, bool); N],
) -> Vec<OptionsError> {
    in_range
        .into_iter()
        .filter(|(_, _, fits)| !fits)
        .map(|(option, expected, _)| OptionsError { option, expected })
        .collect()
}
