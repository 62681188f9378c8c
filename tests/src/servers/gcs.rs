//! Google Cloud Storage by `gcp-storage-emulator`.

use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;

use super::http::{answers, call, encoded, post_json};
use super::kept::Kept;
use super::python;

/// The server.
#[derive(Debug)]
pub struct Gcs {
    server: Kept,
}

impl Gcs {
    /// The one that all tests of this process share. It knows no credentials.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Gcs> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of a test's own, to be stopped by it.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let command = |_: &_, port: u16| {
            let mut command = Command::new(python());
            command.arg(crate::root().join("tests/servers/storage.py"));
            command.args(["--port", &port.to_string()]);
            command
        };
        Self { server: Kept::start("gcp-storage-emulator", command, |server| answers(&url(server))) }
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.server)
    }

    /// Makes a bucket.
    ///
    /// # Panics
    ///
    /// When it is there already, or the server refuses.
    #[track_caller]
    pub fn make_bucket(&self, bucket: &str) {
        post_json(&format!("{}/storage/v1/b?project=test", self.url()), &json!({"name": bucket}));
    }

    /// Keeps an object.
    ///
    /// # Panics
    ///
    /// When there is no such bucket.
    #[track_caller]
    pub fn put(&self, bucket: &str, object: &str, content: impl AsRef<[u8]>) {
        let object = encoded(object, false);
        let url = format!("{}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={object}", self.url());
        call("POST", &url, &[("content-type", "application/octet-stream")], content.as_ref()).success();
    }

    /// What an object holds; `None` where there is none.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    #[must_use]
    #[track_caller]
    pub fn get(&self, bucket: &str, object: &str) -> Option<Vec<u8>> {
        let url = format!("{}/storage/v1/b/{bucket}/o/{}?alt=media", self.url(), encoded(object, false));
        call("GET", &url, &[], &[]).found()
    }

    /// The names of the objects that begin so, in order.
    ///
    /// # Panics
    ///
    /// When there is no such bucket.
    #[must_use]
    #[track_caller]
    pub fn list(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let url = format!("{}/storage/v1/b/{bucket}/o?prefix={}", self.url(), encoded(prefix, false));
        let list = call("GET", &url, &[], &[]).json();
        assert!(list["nextPageToken"].is_null(), "there are more objects than one page holds");
        let items = list["items"].as_array().into_iter().flatten();
        let mut names: Vec<_> = items.filter_map(|item| item["name"].as_str()).map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Ends the server.
    pub fn stop(&self) {
        self.server.stop();
    }
}

fn url(server: &Kept) -> String {
    format!("http://127.0.0.1:{}", server.port())
}
