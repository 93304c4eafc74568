//! Fetches a certificate from a certificate authority and renews it (ACME, RFC 8555). The authority checks the name over plain
//! HTTP (HTTP-01).
//!
//! The relay's edge serves HTTPS with the file of the certificate, and notices when it changes. The first line of the file
//! names host and authority. When the settings name others, a new certificate is fetched.

mod account;
mod answers;
mod authority;
mod life;
mod order;
mod trouble;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::Account;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::time::{sleep, timeout};

use crate::clock::now_ms;
use crate::tls::{self, Files, InUse};
pub(crate) use answers::Answers;
use life::Life;
pub(crate) use life::expires_at_ms;
use trouble::Trouble;

/// Longest time of one attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(300);
/// Longest pause between two attempts, and between two looks at the clock, which an operator may set.
const PAUSE_MAX: Duration = Duration::from_secs(6 * 3_600);
const LOOK_MAX: Duration = Duration::from_secs(3_600);

/// Keeps one certificate valid.
pub(crate) struct Acme {
    /// The host name.
    pub(crate) name: String,
    /// Address for the authority's notices.
    pub(crate) email: Option<String>,
    /// URL of the authority's directory.
    pub(crate) directory: String,
    /// Directory of the certificate and the account.
    pub(crate) data_dir: PathBuf,
    /// Answers to the authority's checks.
    pub(crate) answers: Arc<Answers>,
    /// Pause after the first failed attempt.
    pub(crate) pause: Duration,
    /// The certificate in use, if this process serves HTTPS.
    pub(crate) in_use: Option<Arc<InUse>>,
}

impl Acme {
    /// Fetches and renews, for as long as the runtime lives.
    pub(crate) async fn keep(self) {
        let mut pause = self.pause;
        loop {
            if let Some(wait) = self.wait() {
                sleep(wait.min(LOOK_MAX)).await;
                continue;
            }
            tracing::info!(
                name = self.name,
                directory = self.directory,
                "a certificate is asked for; until it is there the one before it is served, at first one of our own"
            );
            let attempt = timeout(ATTEMPT_MAX, self.fetch());
            match attempt.await.unwrap_or(Err(Trouble::Timeout)) {
                Ok(life) => {
                    let days = life.left_ms(now_ms()) / 86_400_000;
                    tracing::info!(name = self.name, "the certificate is there, for {days} days");
                    if let Some(in_use) = &self.in_use {
                        in_use.reload();
                    }
                    pause = self.pause;
                    if self.wait().is_none() {
                        // One clock is wrong. Wait instead of requesting again and again.
                        tracing::error!(
                            "the new certificate is about to expire already; is the clock of this machine right?"
                        );
                        sleep(self.pause).await;
                    }
                }
                Err(trouble) => {
                    if trouble.is_of_the_account() {
                        account::forget(&self.data_dir);
                    }
                    let wait = trouble.pause(pause);
                    tracing::error!(
                        name = self.name,
                        "no certificate: {trouble}. {} Tried again in {} s.",
                        trouble.advice(),
                        wait.as_secs()
                    );
                    sleep(wait).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Time until a certificate has to be fetched. `None` is now.
    fn wait(&self) -> Option<Duration> {
        let text = std::fs::read_to_string(self.file()).ok()?;
        let is_ours = text.lines().next() == Some(&*self.title());
        let life = Life::of(&CertificateDer::from_pem_slice(text.as_bytes()).ok()?)?;
        let wait_ms = life.renewal_ms().saturating_sub(now_ms());
        (is_ours && wait_ms > 0).then(|| Duration::from_millis(wait_ms))
    }

    async fn fetch(&self) -> Result<Life, Trouble> {
        let account = self.account().await?;
        let fetched = order::fetch(&account, &self.name, &self.answers).await?;
        let chain = CertificateDer::from_pem_slice(fetched.chain.as_bytes());
        let life = chain.ok().and_then(|leaf| Life::of(&leaf)).ok_or(Trouble::NoCertificate)?;
        let file = self.file();
        // A certificate that cannot be read must not take the place of one that can.
        let trial = file.with_extension("trial");
        tls::replace(&trial, format!("{}\n{}{}", self.title(), fetched.key, fetched.chain).as_bytes())?;
        Files { certificate: trial.clone(), key: trial.clone() }.read()?;
        let moved = std::fs::rename(&trial, &file);
        moved.map_err(|error| tls::TlsError::File { path: file.display().to_string(), error })?;
        Ok(life)
    }

    async fn account(&self) -> Result<Account, Trouble> {
        account::open(&self.data_dir, &self.directory, self.email.as_deref()).await
    }

    fn file(&self) -> PathBuf {
        self.data_dir.join(tls::FETCHED_FILE)
    }

    /// First line of the file.
    fn title(&self) -> String {
        format!("Certificate and key of {} from {}", self.name, self.directory)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn acme(data_dir: &std::path::Path, name: &str) -> Acme {
        Acme {
            name: name.into(),
            email: None,
            directory: "https://ca.example.org/dir".into(),
            data_dir: data_dir.into(),
            answers: Arc::default(),
            pause: Duration::ZERO,
            in_use: None,
        }
    }

    fn written(acme: &Acme, title: &str, from: i32, to: i32) {
        let mut params = CertificateParams::new(vec![acme.name.clone()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let pair = KeyPair::generate().unwrap();
        let pem = params.self_signed(&pair).unwrap().pem();
        std::fs::write(acme.file(), format!("{title}\n{}{pem}", pair.serialize_pem())).unwrap();
    }

    #[test]
    fn one_is_fetched_when_there_is_none_of_this_name_or_a_third_is_left() {
        let dir = millrace_testkit::scratch();
        let acme = acme(&dir, "meet.example.org");
        assert_eq!(acme.wait(), None, "none");
        written(&acme, &acme.title(), 2020, 2400);
        let years = acme.wait().unwrap().as_secs() / 86_400 / 365;
        assert!((150..260).contains(&years), "{years}: two thirds of 380 years from 2020");
        Files { certificate: acme.file(), key: acme.file() }.read().unwrap();
        written(&acme, &acme.title(), 1990, 2030);
        assert_eq!(acme.wait(), None, "less than a third is left since 2017");
        written(
            &acme,
            "Certificate and key of other.example.org from https://ca.example.org/dir",
            2020,
            2400,
        );
        assert_eq!(acme.wait(), None, "another name");
        Files::of(&tls::Choice::Fetched { name: acme.name.clone() }, &acme.data_dir, &[]).unwrap();
        assert_eq!(acme.wait(), None, "one of our own");
    }
}
