//! Masking of secrets: whatever leaves the scheduler passes through here first.
//!
//! No I/O. A secret that is printed in another form (reversed, in base64) is not recognised. One that was cut is, by its
//! beginning before an ellipsis: engines shorten messages before they come here.

use std::borrow::Cow;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Parts of a secret that are shorter than this are not masked on their own: `{` is a line of many keys.
const SHORTEST_PART: usize = 8;

/// The type of a Google service account's key file.
const GOOGLE_KEY: &str = "service_account";

/// What is secret in it. Its project and its email are not: they stand in the names, links and checkpoints of jobs.
const GOOGLE_SECRETS: [&str; 2] = ["private_key", "private_key_id"];

/// Of a secret that was cut, so many bytes are needed to recognise it.
const SHORTEST_BEGINNING: usize = 4;

/// Stands where something was cut.
const ELLIPSIS: char = '…';

/// Knows the secrets of a run.
#[derive(Debug, Clone, Default)]
pub struct Masker(Option<Arc<Secrets>>);

#[derive(Debug)]
struct Secrets {
    whole: AhoCorasick,
    /// Finds the first bytes of any of them,
    beginnings: AhoCorasick,
    /// each of which may go on like one of these.
    texts: Vec<String>,
}

impl Masker {
    /// A masker of these values. The lines of a text and the strings in a JSON document are masked as well,
    /// each also as JSON writes it.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns = Vec::new();
        for secret in secrets {
            add(&mut patterns, secret.to_owned());
            // A file's text ends with a line feed that its use in a script does not have.
            add(&mut patterns, secret.trim().to_owned());
            add_lines(&mut patterns, secret);
            if let Ok(value) = serde_json::from_str::<Value>(secret) {
                add_strings(&mut patterns, &value);
            }
        }
        patterns.sort_unstable();
        patterns.dedup();
        if patterns.is_empty() {
            return Self(None);
        }
        // Building fails only beyond 2^31 states, far above what a configuration can hold.
        Self(Secrets::new(patterns).ok().map(Arc::new))
    }

    /// The text with every secret replaced by [`MASK`], also one of which only the beginning is left before an ellipsis.
    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(secrets) = &self.0 else { return Cow::Borrowed(text) };
        match secrets.mask_whole(text) {
            Cow::Borrowed(text) => secrets.mask_cut(text),
            Cow::Owned(text) => Cow::Owned(secrets.mask_cut(&text).into_owned()),
        }
    }

    /// Masks every string in a JSON value, names included. What was cut is left: it is data, not a message.
    pub fn mask_json(&self, value: &mut Value) {
        let Some(secrets) = &self.0 else { return };
        match value {
            Value::String(text) => {
                if let Cow::Owned(masked) = secrets.mask_whole(text) {
                    *text = masked;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item)),
            Value::Object(map) => {
                *map = std::mem::take(map)
                    .into_iter()
                    .map(|(key, mut item)| {
                        self.mask_json(&mut item);
                        (secrets.mask_whole(&key).into_owned(), item)
                    })
                    .collect();
            }
            // A number that is a secret: `pin: 4711` printed as JSON.
            Value::Number(number) => {
                if let Cow::Owned(masked) = secrets.mask_whole(&number.to_string()) {
                    *value = Value::String(masked);
                }
            }
            Value::Bool(_) | Value::Null => {}
        }
    }
}

impl Secrets {
    fn new(texts: Vec<String>) -> Result<Self, aho_corasick::BuildError> {
        let whole = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&texts)?;
        let cuttable = texts.iter().filter(|text| text.len() > SHORTEST_BEGINNING);
        let beginnings = AhoCorasick::new(cuttable.map(|text| &text.as_bytes()[..SHORTEST_BEGINNING]))?;
        Ok(Self { whole, beginnings, texts })
    }

    fn mask_whole<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.whole.is_match(text) {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        self.whole.replace_all_with(text, &mut masked, |_, _, out| {
            out.push_str(MASK);
            true
        });
        Cow::Owned(masked)
    }

    fn mask_cut<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.beginnings.is_match(text) {
            return Cow::Borrowed(text);
        }
        let (mut masked, mut done) = (String::new(), 0);
        for start in self.beginnings.find_overlapping_iter(text).map(|found| found.start()) {
            if let Some(length) = self.cut(&text[start..]).filter(|_| start >= done) {
                masked.push_str(&text[done..start]);
                masked.push_str(MASK);
                done = start + length;
            }
        }
        masked.push_str(&text[done..]);
        Cow::Owned(masked)
    }

    /// How much of a secret the text begins with, if it was cut after that.
    fn cut(&self, text: &str) -> Option<usize> {
        let is_cut = |&length: &usize| {
            length >= SHORTEST_BEGINNING && text.get(length..).is_some_and(|rest| rest.starts_with(ELLIPSIS))
        };
        let common = |secret: &String| secret.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        self.texts.iter().map(common).filter(is_cut).max()
    }
}

/// A URL that is a secret, and the password in it, as it is written and as it is meant.
pub(crate) fn with_password(url: String) -> Vec<String> {
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let password = user.and_then(|user| user.split_once(':')).map(|(_, password)| password.to_owned());
    let meant = password.as_ref().map(|p| percent_decode_str(p).decode_utf8_lossy().into_owned());
    [Some(url.clone()), password, meant].into_iter().flatten().filter(|secret| !secret.is_empty()).collect()
}

/// Adds a secret as it is, as it stands between the quotes of JSON (with and without characters beyond ASCII),
/// and as it stands in a URL.
fn add(patterns: &mut Vec<String>, secret: String) {
    if secret.is_empty() {
        return;
    }
    let json = Value::String(secret.clone()).to_string();
    let json = &json[1..json.len() - 1];
    let mut units = [0; 2];
    let ascii: String = json
        .chars()
        .map(|c| match c.is_ascii() {
            true => c.to_string(),
            false => c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        })
        .collect();
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let url: String = secret
        .bytes()
        .map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    patterns.extend([json.to_owned(), ascii, url, secret]);
}

fn add_lines(patterns: &mut Vec<String>, text: &str) {
    let lines = text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_PART);
    lines.for_each(|line| add(patterns, line.to_owned()));
}

fn add_strings(patterns: &mut Vec<String>, value: &Value) {
    match value {
        Value::String(text) => {
            if text.len() >= SHORTEST_PART {
                add(patterns, text.clone());
            }
            add_lines(patterns, text);
        }
        Value::Array(items) => items.iter().for_each(|item| add_strings(patterns, item)),
        Value::Object(map) if map.get("type").is_some_and(|kind| kind == GOOGLE_KEY) => {
            GOOGLE_SECRETS
                .iter()
                .filter_map(|&name| map.get(name))
                .for_each(|item| add_strings(patterns, item));
        }
        Value::Object(map) => map.values().for_each(|item| add_strings(patterns, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_is_masked_wherever_it_stands() {
        let masker = Masker::new(["s3cret", "s3cret-and-more", ""]);
        assert_eq!(masker.mask("a s3cret, s3cret-and-more."), "a ***, ***.");
        assert_eq!(masker.mask("nothing here"), "nothing here");
    }

    #[test]
    fn what_is_left_of_a_secret_that_was_cut_is_masked() {
        let masker = Masker::new(["s3cret-token-of-many-words", "grüße an alle"]);
        for (text, masked) in [
            ("bad token: s3cret-tok…", "bad token: ***…"),
            ("bad token: s3cr… (see the log)", "bad token: ***… (see the log)"),
            ("s3cret-token-of…\nnext: s3cret-token-of…", "***…\nnext: ***…"),
            ("s3cret-token-of-many-words, s3cret-token…", "***, ***…"),
            ("s3cret-s3cret-to…", "s3cret-***…"),
            ("grüße a…", "***…"),
            // Too little of it, or not cut.
            ("s3c…", "s3c…"),
            ("s3cret-token or another", "s3cret-token or another"),
            ("a s3cret-token", "a s3cret-token"),
        ] {
            assert_eq!(masker.mask(text), masked);
        }
    }

    #[test]
    fn the_lines_and_fields_of_a_key_file_are_masked_one_by_one() {
        let key = "{\n  \"client_email\": \"me@example.com\",\n  \"private_key\": \"-----BEGIN-----\\nMIIEvQIBADANBg\\n\"\n}";
        let masker = Masker::new([key]);
        assert_eq!(masker.mask(key), MASK);
        assert_eq!(masker.mask("user me@example.com"), "user ***");
        assert_eq!(masker.mask("MIIEvQIBADANBg"), MASK);
        assert_eq!(masker.mask("{ }"), "{ }");
    }

    #[test]
    fn the_project_and_the_email_of_a_service_account_are_no_secrets() {
        let key = json!({
            "type": "service_account", "project_id": "my-project", "client_email": "me@my-project.example",
            "private_key_id": "0123456789abcdef", "private_key": "-----BEGIN-----\nMIIEvQIBADANBg\n",
        });
        let key = serde_json::to_string_pretty(&key).unwrap();
        let masker = Masker::new([key.as_str()]);
        assert_eq!(masker.mask(&key), MASK);
        let job = "projects/my-project/jobs/1 of me@my-project.example";
        assert_eq!(masker.mask(job), job);
        assert_eq!(masker.mask("MIIEvQIBADANBg 0123456789abcdef"), "*** ***");
    }

    #[test]
    fn a_short_secret_from_a_file_is_masked() {
        assert_eq!(Masker::new(["hunt7\n"]).mask("pw=hunt7 done"), "pw=*** done");
    }

    #[test]
    fn a_secret_is_masked_as_json_writes_it() {
        let masker = Masker::new(["pass\"word"]);
        assert_eq!(masker.mask(r#"{"url": "pass\"word"}"#), r#"{"url": "***"}"#);
        assert_eq!(Masker::new(["gru\u{df} \u{1f600}"]).mask(r"gru\u00df \ud83d\ude00"), MASK);
    }

    #[test]
    fn a_secret_is_masked_as_it_stands_in_a_url() {
        assert_eq!(
            Masker::new(["p@ss/w:rd"]).mask("postgres://me:p%40ss%2Fw%3Ard@db"),
            "postgres://me:***@db"
        );
    }

    #[test]
    fn the_password_of_a_url_is_a_secret_of_its_own() {
        let secrets = |url: &str| with_password(url.to_owned());
        assert_eq!(secrets("redis://:a%40b@h/0"), ["redis://:a%40b@h/0", "a%40b", "a@b"]);
        assert_eq!(secrets("postgres://me:p@ss@h"), ["postgres://me:p@ss@h", "p@ss", "p@ss"]);
        for url in ["sqlite:a.db", "redis://h:1/@:x", "redis://me@h", "redis://me:@h"] {
            assert_eq!(secrets(url), [url], "{url}");
        }
    }

    #[test]
    fn values_and_names_in_json_are_masked() {
        let mut value = json!({"s3cret": ["s3cret", 1], "pin": 4711});
        Masker::new(["s3cret", "4711"]).mask_json(&mut value);
        assert_eq!(value, json!({"***": ["***", 1], "pin": "***"}));
    }
}
