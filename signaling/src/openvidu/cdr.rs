//! Call detail records for download, at `/openvidu/cdr`.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::app::App;
use crate::cdr;

/// Bytes of a file that are in memory at a time.
const CHUNK_LEN: usize = 64 * 1024;

/// The names of the files, the oldest first. 404 where none are written.
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<Vec<String>>, StatusCode> {
    let dir = dir(&app)?;
    let names = cdr::file_names(&dir).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(names))
}

/// One file, as it is at this moment.
pub async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, StatusCode> {
    let path = dir(&app)?.join(&name);
    // No other name is looked for, so none leads out of the directory.
    if !cdr::is_file_name(&name) {
        return Err(StatusCode::NOT_FOUND);
    }
    let file = File::open(path).await.map_err(|_| StatusCode::NOT_FOUND)?;
    let len = file.metadata().await.map_err(|_| StatusCode::NOT_FOUND)?.len();
    // What is written meanwhile is for the next one who asks.
    let chunks = stream::try_unfold(file.take(len), |mut file| async move {
        let mut chunk = vec![0; CHUNK_LEN];
        let len = file.read(&mut chunk).await?;
        chunk.truncate(len);
        Ok::<_, std::io::Error>((len > 0).then_some((Bytes::from(chunk), file)))
    });
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()), (CONTENT_LENGTH, len.to_string())];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

fn dir(app: &App) -> Result<PathBuf, StatusCode> {
    let settings = app.config.events.cdr(&app.config.server.data_dir);
    settings.map(|settings| settings.dir).ok_or(StatusCode::NOT_FOUND)
}
