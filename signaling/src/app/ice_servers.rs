//! The ICE servers that clients get. Every list of ICE servers is made here.

use super::{App, turn};
use crate::ids;
use crate::session::IceServer;

/// Lifetime of the TURN credentials that are made here, in seconds.
const CREDENTIAL_LIFETIME_S: u64 = 86_400;

/// The client that gets the servers.
#[derive(Clone, Copy, Debug)]
pub struct IceClient<'a> {
    /// Servers of its connection only. May be empty.
    pub own: &'a [IceServer],
    /// The name it knows this server by.
    pub host: &'a str,
    /// UDP port of the shard its session lives on.
    pub media_port: u32,
    /// The time, in ms since 1970.
    pub now_ms: u64,
}

impl App {
    /// The servers of the connection. If it has none: the configured servers, else the relay's TURN servers, else
    /// STUN at the port of the client's shard. They contain credentials but no secret. The list is never empty,
    /// because a client without ICE servers asks a public one on the internet.
    pub fn ice_servers(&self, client: IceClient<'_>) -> Vec<IceServer> {
        let set = &self.config.ice.servers;
        if set.is_empty() && client.own.is_empty() {
            return offered(client, &self.turn_servers(client.now_ms));
        }
        offered(client, set)
    }
}

fn offered(client: IceClient<'_>, set: &[IceServer]) -> Vec<IceServer> {
    let servers = if client.own.is_empty() { set } else { client.own };
    if servers.is_empty() {
        let url = format!("stun:{}:{}", client.host, client.media_port);
        return vec![IceServer { url, username: None, credential: None, static_auth_secret: None }];
    }
    servers.iter().map(|server| with_credentials(server, client.now_ms)).collect()
}

/// Makes credentials if the server has a secret, so that the TURN server needs no list of users.
fn with_credentials(server: &IceServer, now_ms: u64) -> IceServer {
    let Some(secret) = &server.static_auth_secret else { return server.clone() };
    let expires_at_s = now_ms / 1_000 + CREDENTIAL_LIFETIME_S;
    let (username, credential) = turn::credentials(secret, expires_at_s, &ids::ice(8));
    IceServer {
        url: server.url.clone(),
        username: Some(username),
        credential: Some(credential),
        static_auth_secret: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ice_servers::parse_text;

    fn client(own: &[IceServer]) -> IceClient<'_> {
        IceClient { own, host: "localhost", media_port: 5_000, now_ms: 1_000_000 }
    }

    #[test]
    fn our_own_stun_is_offered_unless_somebody_knows_better() {
        assert_eq!(json!(offered(client(&[]), &[])), json!([{"url": "stun:localhost:5000"}]));
        let set = [parse_text("url=turn:set,username=u,credential=c=c").unwrap()];
        let offer = json!(offered(client(&[]), &set));
        assert_eq!(offer, json!([{"url": "turn:set", "username": "u", "credential": "c=c"}]));
        let own = [parse_text("url=turn:h,staticAuthSecret=s").unwrap()];
        assert_eq!(offered(client(&own), &set)[0].url, "turn:h");
    }

    #[test]
    fn a_secret_becomes_credentials_and_stays_here() {
        let own = [parse_text("url=turn:h,staticAuthSecret=s").unwrap()];
        let offer = &json!(offered(client(&own), &[]))[0];
        let keys: Vec<&String> = offer.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["url", "username", "credential"]);
        let username = offer["username"].as_str().unwrap();
        assert!(username.starts_with("87400:"), "{username}");
        let (_, user) = username.split_once(':').unwrap();
        let (_, credential) = turn::credentials("s", 87_400, user);
        assert_eq!(offer["credential"], credential);
    }
}
