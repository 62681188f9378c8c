//! S3 by the server of `moto`.

use std::process::Command;
use std::sync::OnceLock;

use super::http::{answers, call, encoded};
use super::kept::Kept;
use super::python_program;

/// Whoever asks: moto reads who it is and looks at no signature, but refuses private objects to nobody.
const SOMEBODY: (&str, &str) = (
    "authorization",
    "AWS4-HMAC-SHA256 Credential=test/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none",
);

/// The server.
#[derive(Debug)]
pub struct S3 {
    server: Kept,
}

impl S3 {
    /// The one that all tests of this process share. It takes any credentials.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<S3> = OnceLock::new();
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
            let mut command = Command::new(python_program("moto_server"));
            command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
            command
        };
        let ready = |server: &Kept| answers(&format!("{}/moto-api/", url(server)));
        Self { server: Kept::start("moto's server", command, ready) }
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
    /// When the server refuses: a name has three characters at least.
    #[track_caller]
    pub fn make_bucket(&self, bucket: &str) {
        call("PUT", &format!("{}/{bucket}", self.url()), &[SOMEBODY], &[]).success();
    }

    /// Keeps an object.
    ///
    /// # Panics
    ///
    /// When there is no such bucket.
    #[track_caller]
    pub fn put(&self, bucket: &str, object: &str, content: impl AsRef<[u8]>) {
        let headers = [SOMEBODY, ("content-type", "application/octet-stream")];
        call("PUT", &self.place(bucket, object), &headers, content.as_ref()).success();
    }

    /// What an object holds; `None` where there is none.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    #[must_use]
    #[track_caller]
    pub fn get(&self, bucket: &str, object: &str) -> Option<Vec<u8>> {
        call("GET", &self.place(bucket, object), &[SOMEBODY], &[]).found()
    }

    /// The names of the objects that begin so, in order.
    ///
    /// # Panics
    ///
    /// When there is no such bucket.
    #[must_use]
    #[track_caller]
    pub fn list(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let url = format!("{}/{bucket}?list-type=2&prefix={}", self.url(), encoded(prefix, false));
        let xml = String::from_utf8_lossy(&call("GET", &url, &[SOMEBODY], &[]).success()).into_owned();
        assert!(!xml.contains("<IsTruncated>true"), "there are more objects than one page holds");
        let keys = xml.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        let mut names: Vec<_> = keys.map(str::to_owned).collect();
        names.sort();
        names
    }

    fn place(&self, bucket: &str, object: &str) -> String {
        format!("{}/{bucket}/{}", self.url(), encoded(object, true))
    }

    /// Ends the server.
    pub fn stop(&self) {
        self.server.stop();
    }
}

fn url(server: &Kept) -> String {
    format!("http://127.0.0.1:{}", server.port())
}
