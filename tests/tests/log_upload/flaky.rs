//! A server that is too busy at first: what is asked of it then is tried again.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use oxidag_tests::running::in_time;
use oxidag_tests::servers::gcs::Gcs;
use oxidag_tests::servers::s3::S3;

use super::{gcs, local, s3, sandbox, task, write_dag};
use serde_json::json;

/// Stands before a server, and answers the first requests itself.
struct Busy {
    address: SocketAddr,
    refused: Arc<AtomicU32>,
}

impl Busy {
    /// The first so many requests get this answer.
    fn before(server: &str, times: u32, status: &'static str) -> Self {
        let server: SocketAddr = server.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let refused = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&refused);
        // Until the test process ends.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                thread::spawn(move || serve(client, server, &count, times, status));
            }
        });
        Self { address, refused }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// One request of a client.
fn serve(
    client: TcpStream,
    server: SocketAddr,
    refused: &AtomicU32,
    times: u32,
    status: &str,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let request = request(&mut reader)?;
    let less = |count: u32| (count < times).then_some(count + 1);
    if refused.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return (&client).write_all(answer.as_bytes());
    }
    let mut upstream = TcpStream::connect(server)?;
    upstream.write_all(&request)?;
    std::io::copy(&mut upstream, &mut &client).map(drop)
}

/// The bytes of a request, which is asked to be the connection's last.
fn request(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let (mut head, mut length, mut chunked) = (String::new(), 0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let lower = line.trim_end().to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        chunked |= lower.starts_with("transfer-encoding:");
        if lower.is_empty() {
            break;
        }
        if !lower.starts_with("connection:") {
            head += &line;
        }
    }
    let mut bytes = format!("{head}Connection: close\r\n\r\n").into_bytes();
    if chunked {
        while !bytes.ends_with(b"\r\n0\r\n\r\n") {
            reader.read_until(b'\n', &mut bytes)?;
        }
    } else {
        reader.take(length).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

#[test]
fn cloud_storage_that_is_busy_is_asked_again() {
    for (bucket, status) in
        [("logs-busy-503", "503 Service Unavailable"), ("logs-busy-429", "429 Too Many Requests")]
    {
        let storage = Gcs::shared();
        storage.make_bucket(bucket);
        let busy = Busy::before(&storage.url(), 2, status);
        let sandbox = sandbox(&format!("gs://{bucket}"), &gcs(&busy.url()));
        write_dag(&sandbox, &[task("t", "echo one", &json!({}))]);
        let ended = in_time(sandbox.command(&["run", "d.json", "--run-id", "r"])).expect_status(0);
        assert_eq!(ended.stderr, "", "{status}");
        assert_eq!(busy.refused.load(Ordering::SeqCst), 2, "{status}");
        for name in ["d/t/r.1.log", "d/r.log"] {
            assert_eq!(storage.get(bucket, name).unwrap(), local(&sandbox, name), "{status}");
        }
    }
}

#[test]
fn s3_that_is_busy_is_asked_again() {
    let storage = S3::shared();
    storage.make_bucket("logs-busy");
    let busy = Busy::before(&storage.url(), 2, "503 Slow Down");
    let sandbox = sandbox("s3://logs-busy", &s3(&busy.url()));
    write_dag(&sandbox, &[task("t", "echo one", &json!({}))]);
    let ended = in_time(sandbox.command(&["run", "d.json", "--run-id", "r"])).expect_status(0);
    assert_eq!(ended.stderr, "");
    assert_eq!(busy.refused.load(Ordering::SeqCst), 2);
    for name in ["d/t/r.1.log", "d/r.log"] {
        assert_eq!(storage.get("logs-busy", name).unwrap(), local(&sandbox, name));
    }
}
