//! Why there is no answer.

use std::error::Error;
use std::io;

use http_body_util::LengthLimitError;
use hyper_util::client::legacy;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The certificate of the server is not accepted.
    #[error("its certificate is not trusted: {0}")]
    Certificate(rustls::Error),
    /// There is no connection: the name, TCP or TLS.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke, or what came over it is not HTTP/1.1.
    #[error("{0}")]
    Http(String),
    /// The answer is longer than allowed.
    #[error("the answer is too long")]
    TooLong,
    /// The answer was not there in time.
    #[error("no answer in time")]
    Timeout,
}

impl From<legacy::Error> for SendError {
    fn from(error: legacy::Error) -> Self {
        let certificate = chain(&error).find_map(|error| match error.downcast_ref() {
            Some(tls @ rustls::Error::InvalidCertificate(_)) => Some(tls.clone()),
            _ => None,
        });
        match certificate {
            Some(tls) => Self::Certificate(tls),
            None if error.is_connect() => Self::Connect(last_words(&error)),
            None => Self::Http(last_words(&error)),
        }
    }
}

impl SendError {
    pub(crate) fn body(error: Box<dyn Error + Send + Sync>) -> Self {
        if error.is::<LengthLimitError>() { Self::TooLong } else { Self::Http(last_words(&*error)) }
    }
}

/// What the innermost error says. The outer ones only repeat that something failed.
fn last_words(error: &(dyn Error + 'static)) -> String {
    chain(error).last().unwrap_or(error).to_string()
}

/// An error and its causes, the outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| cause(error))
}

fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // The `source` of an I/O error passes over the error that it was made of.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}
