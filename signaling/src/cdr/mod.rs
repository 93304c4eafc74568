//! Events: call detail records on disk, and an application's webhook.
//!
//! A change of the model makes [`crate::session::Fact`]s. They come here when they are durable, in the order of the
//! changes, and an adapter's [`Encode`] makes events of them. Nothing waits for a receiver or a disk: an event that
//! finds no room is dropped and counted.

mod client;
mod endpoint;
mod event;
mod file;
mod kind;
mod queues;
mod rotation;
mod webhook;

use serde_json::{Value, json};

use crate::session::Fact;
pub(crate) use endpoint::Endpoint;
pub(crate) use event::{Encode, Event, Moment};
use file::LogFile;
pub(crate) use file::Settings as FileSettings;
pub(crate) use kind::Kind;
pub(crate) use queues::Bounds;
use queues::Letter;
pub(crate) use rotation::{is_ours as is_file_name, names as file_names};
pub(crate) use webhook::Settings as WebhookSettings;
use webhook::Webhook;

/// Why events cannot be delivered or written as the settings ask.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The webhook cannot be called.
    #[error("--webhook: {0}")]
    Webhook(String),
    /// The call detail records cannot be written.
    #[error("--cdr-path: {0}")]
    File(String),
}

/// The receivers of events: an application's webhook and files of call detail records.
pub struct Journal {
    encode: Encode,
    webhook: Option<Webhook>,
    file: Option<LogFile>,
}

impl Journal {
    /// Starts the webhook's workers and the thread that writes records. Must be called within the runtime.
    ///
    /// # Errors
    /// When the webhook's certificates or the directory of the records cannot be used.
    pub fn start(
        encode: Encode,
        webhook: Option<WebhookSettings>,
        file: Option<FileSettings>,
    ) -> Result<Self, JournalError> {
        let webhook = webhook.map(Webhook::start).transpose().map_err(JournalError::Webhook)?;
        let start = |file: FileSettings| {
            let why = |error| JournalError::File(format!("{}: {error}", file.dir.display()));
            LogFile::start(&file).map_err(why)
        };
        Ok(Self { encode, webhook, file: file.map(start).transpose()? })
    }

    /// Sends and writes events. Never waits.
    pub fn record(&self, moment: &Moment, facts: &[Fact]) {
        for fact in facts {
            // Only the name: the content of signals must not be logged.
            tracing::debug!(session = moment.session, fact = fact.name(), "happened");
        }
        if self.webhook.is_none() && self.file.is_none() {
            return;
        }
        for event in facts.iter().map(|fact| (self.encode)(moment, fact)) {
            if let Some(file) = &self.file {
                file.push(&event);
            }
            if let Some(webhook) = self.webhook.as_ref().filter(|webhook| webhook.wants(event.kind)) {
                webhook.push(&moment.session, &event);
            }
        }
    }

    /// Waits until the webhook has no event left to send.
    pub async fn settled(&self) {
        if let Some(webhook) = &self.webhook {
            webhook.settled().await;
        }
    }

    /// Numbers of events, for the statistics.
    pub fn stats(&self) -> Value {
        let webhook = self.webhook.as_ref().map(|webhook| {
            let [waiting, delivered, failed, dropped] = webhook.counts();
            json!({"waiting": waiting, "delivered": delivered, "failed": failed, "dropped": dropped})
        });
        let file = self.file.as_ref().map(|file| {
            let [written, lost] = file.counts();
            json!({"written": written, "lost": lost})
        });
        json!({ "webhook": webhook, "cdr": file })
    }
}
