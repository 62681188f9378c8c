//! Starts one of each test server, tells where they are and holds them until it is killed: what a test process
//! does, as a program that a test can kill.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use oxidag_tests::servers::functions;
use oxidag_tests::servers::{gcs::Gcs, google::Google, postgres::Postgres, redis::Redis, s3::S3};

fn main() -> io::Result<()> {
    let source = std::env::args().nth(1).unwrap_or_default();
    let redis = Redis::start();
    let function = functions::start(Path::new(&source), "answer");
    let shared = [Gcs::shared().url(), S3::shared().url(), Postgres::shared().url()];
    let google = Google::shared().url().to_owned();
    let urls = [redis.url(), function.url(), google].into_iter().chain(shared);
    for url in urls {
        writeln!(io::stdout(), "{url}")?;
    }
    writeln!(io::stdout(), "ready")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
