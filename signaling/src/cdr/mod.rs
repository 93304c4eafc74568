//! What is kept of what happened, and who is told: call detail records on disk and an application's webhook.
//!
//! Whoever changes the model leaves [`crate::session::Fact`]s. They come here once they are durable, in the order of
//! the changes, and become events as the original has them. From here on nothing waits for anything: what finds no
//! room is dropped and counted.

mod client;
mod endpoint;
mod event;
mod kind;
mod queues;
mod webhook;

use serde_json::{Value, json};

use crate::session::Fact;
pub(crate) use endpoint::Endpoint;
use event::Event;
pub(crate) use event::Moment;
pub(crate) use kind::Kind;
pub(crate) use queues::Bounds;
pub(crate) use webhook::Settings as WebhookSettings;
use webhook::Webhook;

/// Everybody who is told.
#[derive(Default)]
pub struct Journal {
    webhook: Option<Webhook>,
}

impl Journal {
    /// Starts what is wanted. Must be called within the runtime.
    ///
    /// # Errors
    /// When it cannot be had, in words for an operator.
    pub fn start(webhook: Option<WebhookSettings>) -> Result<Self, String> {
        Ok(Self { webhook: webhook.map(Webhook::start).transpose()? })
    }

    /// Tells what happened. Never waits.
    pub fn record(&self, moment: &Moment, facts: &[Fact]) {
        for fact in facts {
            // Names only: what people say to each other is not for the log.
            tracing::debug!(session = moment.session, fact = fact.name(), "happened");
            if let Some(webhook) = &self.webhook {
                let event = Event::new(moment, fact);
                if webhook.wants(event.kind) {
                    webhook.push(&moment.session, &event);
                }
            }
        }
    }

    /// Waits until all of it is told.
    pub async fn settled(&self) {
        if let Some(webhook) = &self.webhook {
            webhook.settled().await;
        }
    }

    /// What became of the events, for the statistics.
    pub fn stats(&self) -> Value {
        let webhook = self.webhook.as_ref().map(|webhook| {
            let [waiting, delivered, failed, dropped] = webhook.counts();
            json!({"waiting": waiting, "delivered": delivered, "failed": failed, "dropped": dropped})
        });
        json!({ "webhook": webhook })
    }
}
