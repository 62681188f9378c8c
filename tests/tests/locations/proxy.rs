//! A server between oxidag and another one: it counts what is asked, and may answer instead.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// An answer that the server behind never gave: the status, and the body.
pub(crate) type Answer = (u16, &'static str);

/// Listens until the test process ends.
pub(crate) struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Passes on to the server at this URL.
    pub(crate) fn to(url: &str) -> Self {
        Self::with(url, |_| None)
    }

    /// Answers everything itself.
    pub(crate) fn answering(answer: Answer) -> Self {
        Self::with("http://127.0.0.1:1", move |_| Some(answer))
    }

    /// Answers a request itself where `rule` says so, which is told how many came before.
    pub(crate) fn with(url: &str, rule: impl Fn(usize) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let behind = url.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (kept, rule) = (Arc::clone(&heads), Arc::new(rule));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (behind, kept, rule) = (behind.clone(), Arc::clone(&kept), Arc::clone(&rule));
                // Whoever hangs up does not concern the others.
                thread::spawn(move || serve(client, &behind, &kept, &*rule));
            }
        });
        Self { port, heads }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The requests as they came, each with its headers.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// How often an object was asked for whose name ends so.
    pub(crate) fn count(&self, name: &str) -> usize {
        let path = |head: &String| {
            let line = head.lines().next().unwrap_or_default().replace("%2F", "/");
            line.split([' ', '?']).nth(1).is_some_and(|path| path.ends_with(name))
        };
        self.heads().iter().filter(|head| path(head)).count()
    }
}

/// One request, after which the connection ends.
fn serve(
    client: TcpStream,
    behind: &str,
    heads: &Mutex<Vec<String>>,
    rule: &dyn Fn(usize) -> Option<Answer>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let before = {
        let mut heads = heads.lock().unwrap();
        heads.push(head.clone());
        heads.len() - 1
    };
    let mut client = client;
    if let Some((status, body)) = rule(before) {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} Answer\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        return client.write_all(answer.as_bytes());
    }
    let (request, headers) = head.split_once("\r\n").unwrap_or_default();
    let mut server = TcpStream::connect(behind)?;
    server.write_all(format!("{request}\r\nConnection: close\r\n{headers}").as_bytes())?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    client.write_all(&answer)
}
