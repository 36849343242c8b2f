//! The routes of files: uploads, media links, covers and previews.

mod covers;
mod media;
mod served;
mod uploads;

use std::time::Duration;

use api_kit::middleware::with_timeout;

use super::Routes;

/// Time limit for the head of a response; the bytes after it have none.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// The same of a route with an image in its body.
const IMAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// All routes. An upload has no time limit but that its bytes come at the least rate of the port.
pub fn routes() -> Routes {
    let read = media::routes().merge(covers::routes());
    with_timeout(RESPONSE_TIMEOUT, read)
        .merge(with_timeout(IMAGE_TIMEOUT, covers::image_routes()))
        .merge(uploads::routes())
}
