//! The keys of a verified handshake.

use std::fmt;

use super::Role;
use crate::records::keys::{KeyRecord, Profile};

/// SRTP master keys, and the proof that the peer owns the certificate that signaling announced: nothing outside this
/// module can make one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SrtpKeys(KeyRecord);

impl SrtpKeys {
    /// From what a verified handshake exports: client key, server key, client salt, server salt (RFC 5764 §4.2).
    /// `None` if the length is not the profile's.
    pub(super) fn from_exported(role: Role, profile: Profile, exported: &[u8]) -> Option<Self> {
        let (client_key, rest) = exported.split_at_checked(profile.key_len())?;
        let (server_key, rest) = rest.split_at_checked(profile.key_len())?;
        let (client_salt, server_salt) = rest.split_at_checked(profile.salt_len())?;
        if server_salt.len() != profile.salt_len() {
            return None;
        }
        let ((in_key, in_salt), (out_key, out_salt)) = match role {
            Role::Server => ((client_key, client_salt), (server_key, server_salt)),
            Role::Client => ((server_key, server_salt), (client_key, client_salt)),
        };
        let mut record = KeyRecord { profile: profile.code(), ..KeyRecord::NONE };
        record.inbound_key[..in_key.len()].copy_from_slice(in_key);
        record.inbound_salt[..in_salt.len()].copy_from_slice(in_salt);
        record.outbound_key[..out_key.len()].copy_from_slice(out_key);
        record.outbound_salt[..out_salt.len()].copy_from_slice(out_salt);
        Some(Self(record))
    }

    /// As they are kept; ciphers are made from that.
    pub fn record(&self) -> &KeyRecord {
        &self.0
    }
}

/// Never shows a key.
impl fmt::Debug for SrtpKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SrtpKeys({:?})", self.0.profile())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_sends_with_its_own_key() {
        for profile in Profile::ALL {
            let (key, salt) = (profile.key_len(), profile.salt_len());
            let exported = [vec![1; key], vec![2; key], vec![3; salt], vec![4; salt]].concat();
            let server = SrtpKeys::from_exported(Role::Server, profile, &exported).unwrap();
            let client = SrtpKeys::from_exported(Role::Client, profile, &exported).unwrap();
            assert_eq!(server.record().inbound(), Some((profile, &vec![1; key][..], &vec![3; salt][..])));
            assert_eq!(server.record().outbound(), Some((profile, &vec![2; key][..], &vec![4; salt][..])));
            assert_eq!(client.record().inbound(), server.record().outbound());
            assert_eq!(client.record().outbound(), server.record().inbound());
            for len in 0..exported.len() {
                assert!(SrtpKeys::from_exported(Role::Server, profile, &exported[..len]).is_none());
            }
            let longer = [exported, vec![0]].concat();
            assert!(SrtpKeys::from_exported(Role::Server, profile, &longer).is_none());
        }
    }
}
