//! Puts a function's archive where Google builds from.

use std::time::Duration;

use google_cloud_functions_v2::client::FunctionService;
use google_cloud_functions_v2::model::{Environment, StorageSource};
use google_cloud_gax::options::RequestOptionsBuilder;
use oxidag_google::{Pace, from_gax, request_slot};
use oxidag_plugin_api::{Error, Result};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;

use crate::call::chain;
use crate::request::Function;

/// So often it is sent.
const TRIES: u32 = 6;

/// So long it may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Uploads an archive, and says where it is now.
///
/// # Errors
///
/// When Google gives no place for it, or does not take it.
pub(super) async fn upload(
    service: &FunctionService,
    client: &Client,
    function: &Function,
    archive: Vec<u8>,
) -> Result<StorageSource> {
    let _slot = request_slot().await;
    // Asked for twice, it gives two places, of which one is not used.
    let asked =
        service.generate_upload_url().set_parent(function.parent()).set_environment(Environment::Gen2);
    let place = asked.with_idempotency(true).send().await;
    let place = place.map_err(|error| from_gax("cannot upload the source", &error))?;
    let source =
        place.storage_source.ok_or_else(|| Error::transient("google names no place for the source"))?;
    let mut pace = Pace::new(Duration::from_millis(500), Duration::from_secs(10));
    let mut tries = 1;
    while let Err(error) = put(client, &place.upload_url, archive.clone()).await {
        if tries == TRIES || error.kind != oxidag_plugin_api::ErrorKind::Transient {
            return Err(error);
        }
        tries += 1;
        tokio::time::sleep(pace.pause()).await;
    }
    Ok(source)
}

/// The URL is signed: whoever knows it may upload, so it stands in no message, and no token goes with it.
async fn put(client: &Client, url: &str, archive: Vec<u8>) -> Result<()> {
    let request = client.put(url).timeout(TIMEOUT).header(CONTENT_TYPE, "application/zip").body(archive);
    let reply = request.send().await;
    let reply =
        reply.map_err(|error| Error::transient(format!("cannot upload the source: {}", chain(&error))))?;
    let status = reply.status();
    if status.is_success() {
        return Ok(());
    }
    let message = format!("cannot upload the source: the storage answered {}", status.as_u16());
    match status.as_u16() {
        408 | 429 | 500.. => Err(Error::transient(message)),
        _ => Err(Error::failed(message)),
    }
}
