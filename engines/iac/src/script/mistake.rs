//! What is wrong with a script, and where.

use oxidag_plugin_api::{Error, Finding, Severity};

use super::tree::Place;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) place: Place,
    pub(crate) message: String,
}

impl Mistake {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

/// As what a dry run noticed.
impl From<&Mistake> for Finding {
    fn from(mistake: &Mistake) -> Self {
        let number = |number: u32| (number > 0).then_some(number);
        Self {
            severity: Severity::Error,
            message: mistake.message.clone(),
            line: number(mistake.place.line),
            column: number(mistake.place.column),
        }
    }
}

/// All of them as the error of an attempt.
pub(crate) fn error(mistakes: &[Mistake]) -> Error {
    let told = |mistake: &Mistake| match mistake.place {
        Place { line: 0, .. } => mistake.message.clone(),
        Place { line, column } => format!("line {line}, column {column}: {}", mistake.message),
    };
    Error::invalid(mistakes.iter().map(told).collect::<Vec<_>>().join("; "))
}

/// Which of the candidates was probably meant: the nearest, if one is near enough to be worth naming.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let near = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, candidate), candidate))
        .filter(|&(distance, _)| distance <= near)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean …?`, where something is near, else all there is.
pub(crate) fn or_list(word: &str, what: &str, all: &[&str]) -> String {
    match nearest(word, all.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{what}: `{}`", all.join("`, `")),
    }
}
