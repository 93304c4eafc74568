//! The account at the certificate authority, kept in the data directory.

use std::path::Path;

use instant_acme::{Account, AccountCredentials, Error, NewAccount};
use serde::{Deserialize, Serialize};

use super::Trouble;
use super::authority::Authority;
use crate::tls;

/// The account's file. It holds its private key.
const FILE: &str = "acme-account.json";

#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    email: Option<String>,
    credentials: AccountCredentials,
}

/// Opens the account of the data directory. Makes one if there is none for this authority.
pub(super) async fn open(data_dir: &Path, directory: &str, email: Option<&str>) -> Result<Account, Trouble> {
    let path = data_dir.join(FILE);
    if let Some(kept) = read(&path).filter(|kept| kept.directory == directory) {
        let (is_told, credentials) = (kept.email.as_deref() == email, kept.credentials);
        // `from_credentials` takes them, and they cannot be cloned.
        let again = serde_json::to_value(&credentials);
        let account = builder()?.from_credentials(credentials).await?;
        if is_told {
            return Ok(account);
        }
        let contact = contact(email);
        account.update_contacts(&[&*contact][..usize::from(email.is_some())]).await?;
        let credentials = again.and_then(serde_json::from_value).map_err(Error::Json)?;
        write(&path, directory, email, credentials)?;
        return Ok(account);
    }
    make(&path, directory, email).await
}

/// Deletes the account, so that the next attempt makes a new one.
pub(super) fn forget(data_dir: &Path) {
    let _ = std::fs::remove_file(data_dir.join(FILE));
}

async fn make(path: &Path, directory: &str, email: Option<&str>) -> Result<Account, Trouble> {
    let contact = contact(email);
    let contacts = [&*contact];
    let wanted = NewAccount {
        contact: &contacts[..usize::from(email.is_some())],
        // Setting the certificate type means agreement; the documentation says so.
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let (account, credentials) = builder()?.create(&wanted, directory.to_owned(), None).await?;
    write(path, directory, email, credentials)?;
    Ok(account)
}

fn builder() -> Result<instant_acme::AccountBuilder, Trouble> {
    Ok(Account::builder_with_http(Box::new(Authority::new().map_err(Trouble::Machine)?)))
}

fn contact(email: Option<&str>) -> String {
    format!("mailto:{}", email.unwrap_or_default())
}

fn read(path: &Path) -> Option<Kept> {
    let text = std::fs::read(path).ok()?;
    serde_json::from_slice(&text)
        .inspect_err(
            |error| tracing::warn!(path = %path.display(), "cannot read the account, so a new one is made: {error}"),
        )
        .ok()
}

fn write(
    path: &Path,
    directory: &str,
    email: Option<&str>,
    credentials: AccountCredentials,
) -> Result<(), Trouble> {
    let kept = Kept { directory: directory.to_owned(), email: email.map(str::to_owned), credentials };
    let text = serde_json::to_vec(&kept).map_err(Error::Json)?;
    Ok(tls::replace(path, &text)?)
}
