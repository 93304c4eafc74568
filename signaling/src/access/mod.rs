//! Access: which principal a request comes from, and what that principal may do.
//!
//! This room knows no protocol. An adapter takes the secret out of its own request (an `Authorization` header, a field of
//! a message), asks [`Access::identify`], and answers in its own words.

mod invitation;
mod principal;
mod secrets;

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::rate::{Addresses, Rate};
pub use invitation::{INVITATION_KEY_LEN, Invitation, InvitationError, Invitations};
pub use principal::Principal;
#[cfg(test)]
pub(crate) use secrets::CURRENT;
use secrets::Secrets;
pub use secrets::{SECRET_LEN_MIN, SecretTexts, SecretsError};

/// The secrets of this server, and the wrong ones that each address has sent.
pub struct Access {
    secrets: Secrets,
    /// Wrong secrets of each address. A right secret is not counted, and is never refused because of this count.
    failures: Addresses,
    /// The signer of invitations.
    pub invitations: Invitations,
    /// Attempts of each address to enter by an invitation. Each one that succeeds makes a token.
    pub entries: Addresses,
}

/// How often one address may do something; `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessRates {
    /// Wrong secrets.
    pub wrong_secrets: Option<Rate>,
    /// Attempts to enter by an invitation.
    pub entries: Option<Rate>,
}

/// Why no principal was identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The secret is wrong.
    WrongSecret,
    /// The secret is wrong, and its address has sent too many wrong ones. Holds the time until the next wrong one counts
    /// as [`Denied::WrongSecret`] again.
    TooManyWrong(Duration),
}

impl Access {
    /// Access by these secrets, and by invitations that are signed with this key.
    ///
    /// # Errors
    /// When two secrets are equal or a secret is too short.
    pub fn new(
        secrets: &SecretTexts,
        invitations: Invitations,
        rates: AccessRates,
    ) -> Result<Self, SecretsError> {
        Ok(Self {
            secrets: Secrets::new(secrets)?,
            failures: Addresses::new(rates.wrong_secrets),
            invitations,
            entries: Addresses::new(rates.entries),
        })
    }

    /// The principal that a secret from `address` belongs to. `None` stands for credentials that hold no secret at all;
    /// they count as a wrong one.
    ///
    /// The comparison comes first: a right secret passes however many wrong ones came from the same address. An
    /// application behind a proxy shares its address with everybody, and must not be locked out by them.
    ///
    /// # Errors
    /// When the secret is wrong.
    pub fn identify(&self, secret: Option<&str>, address: IpAddr) -> Result<Principal, Denied> {
        self.identify_at(secret, address, Instant::now())
    }

    fn identify_at(&self, secret: Option<&str>, address: IpAddr, now: Instant) -> Result<Principal, Denied> {
        if let Some(principal) = secret.and_then(|secret| self.secrets.principal(secret)) {
            return Ok(principal);
        }
        match self.failures.spend(address, now) {
            Ok(()) => Err(Denied::WrongSecret),
            Err(wait) => Err(Denied::TooManyWrong(wait)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "the-secret";

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn access() -> Access {
        let texts = SecretTexts { current: SECRET.into(), previous: None, monitor: None };
        let rates = AccessRates { wrong_secrets: Rate::per_second(2, 2), entries: None };
        Access::new(&texts, Invitations::new(&[0; INVITATION_KEY_LEN]), rates).unwrap()
    }

    #[test]
    fn a_right_secret_passes_however_many_wrong_ones_came_from_its_address() {
        let (access, now) = (access(), Instant::now());
        let wrong = |address, now| access.identify_at(Some("wrong-secret"), address, now);
        for _ in 0..2 {
            assert_eq!(wrong(address(1), now), Err(Denied::WrongSecret));
        }
        let Err(Denied::TooManyWrong(wait)) = wrong(address(1), now) else {
            panic!("the third wrong secret is one too many");
        };
        assert_eq!(access.identify_at(Some(SECRET), address(1), now), Ok(Principal::Application));
        assert_eq!(wrong(address(2), now), Err(Denied::WrongSecret));
        assert_eq!(wrong(address(1), now + wait), Err(Denied::WrongSecret));
    }

    #[test]
    fn right_secrets_are_not_counted_and_missing_ones_are() {
        let (access, now) = (access(), Instant::now());
        for _ in 0..9 {
            assert_eq!(access.identify_at(Some(SECRET), address(1), now), Ok(Principal::Application));
        }
        assert_eq!(access.identify_at(None, address(1), now), Err(Denied::WrongSecret));
        assert_eq!(access.identify_at(None, address(1), now), Err(Denied::WrongSecret));
        assert!(matches!(access.identify_at(None, address(1), now), Err(Denied::TooManyWrong(_))));
    }
}
