//! One certificate, from the order to its chain (RFC 8555, section 7.4).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus, Problem,
    RetryPolicy,
};

use super::{Answers, Trouble};

/// How long the authority may take to check, and then to sign. The pause between questions grows from half a second.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// A key and the certificates that go with it, PEM.
pub(super) struct Fetched {
    pub(super) key: String,
    pub(super) chain: String,
}

/// Orders a certificate for `name`. Meanwhile the authority reads `answers`.
pub(super) async fn fetch(account: &Account, name: &str, answers: &Arc<Answers>) -> Result<Fetched, Trouble> {
    let identifiers = [Identifier::Dns(name.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let mut held = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization.challenge(ChallengeType::Http01).ok_or(Trouble::NoHttp)?;
        let answer = challenge.key_authorization();
        held.push(answers.put(challenge.token.clone(), answer.as_str().to_owned()));
        challenge.set_ready().await?;
    }
    match order.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Ready) => {}
        other => {
            // The order only says that it failed. The reason is in the challenge.
            let found = refusal(&mut order).await;
            return Err(match (found, other) {
                (Some(problem), _) => Trouble::Refused(problem),
                (None, Err(error)) => error.into(),
                (None, Ok(_)) => Trouble::NoCertificate,
            });
        }
    }
    drop(held);
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok(Fetched { key, chain })
}

/// Why the authority refused, as the challenge says.
async fn refusal(order: &mut Order) -> Option<Problem> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        authorization.refresh().await.ok()?;
        let problem = authorization.challenges.iter().find_map(|challenge| challenge.error.clone());
        if problem.is_some() {
            return problem;
        }
    }
    None
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::Refused(problem),
            Error::Timeout(_) => Self::Timeout,
            other => Self::Unreachable(other),
        }
    }
}
