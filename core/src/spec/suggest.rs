//! The word that was probably meant.

/// The nearest of the candidates, if one is near enough to be worth naming.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody misspells a word this long, and comparing takes the product of the lengths.
    const LONGEST: usize = 250;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let length = word.chars().count();
    let near = (length / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= 4 * near && candidate.len() <= LONGEST)
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, _)| distance <= near && distance < length)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean", where something is near, else all there is.
pub(crate) fn or_list(word: &str, what: &str, all: &[&str]) -> String {
    match nearest(word, all.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{what}: {}", list(all)),
    }
}

/// Names for a message: each in backticks, with commas.
pub(crate) fn list(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_word_finds_the_one_that_was_meant() {
        let words = ["retries", "retry_delay", "task_id", "tags"];
        assert_eq!(nearest("retires", words), Some("retries"));
        assert_eq!(nearest("taskId", words), Some("task_id"));
        assert_eq!(nearest("task-id", words), Some("task_id"));
        assert_eq!(nearest("retry_dealy", words), Some("retry_delay"));
    }

    #[test]
    fn a_word_that_is_like_none_finds_none() {
        assert_eq!(nearest("colour", ["retries", "tags"]), None);
        assert_eq!(nearest("x", ["y", "z"]), None);
        assert_eq!(nearest("", ["y"]), None);
        assert_eq!(nearest(&"retries".repeat(100_000), ["retries"]), None);
    }
}
