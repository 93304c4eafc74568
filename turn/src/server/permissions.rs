//! Permissions of an allocation (RFC 8656 §9), and what ends with them.

use std::net::{IpAddr, SocketAddr};

use bytemuck::Zeroable;

use crate::server::record::{AddressRecord, AllocationRecord, PermissionRecord};
use crate::server::users::{Kind, Users};

impl AllocationRecord {
    /// Whether data may pass between the client and this peer.
    pub(super) fn permits(&self, peer: &AddressRecord, now_ns: u64) -> bool {
        self.permissions.iter().any(|permission| permission.covers(peer, now_ns))
    }

    /// Where the permission for the address is, whether or not its time is over.
    pub(super) fn permission_of(&self, ip: IpAddr) -> Option<usize> {
        let ip = ip.to_canonical();
        self.permissions
            .iter()
            .position(|permission| permission.expires_at_ns != 0 && permission.ip() == Some(ip))
    }

    pub(super) fn free_permissions(&self) -> usize {
        self.permissions.iter().filter(|permission| permission.expires_at_ns == 0).count()
    }

    /// Makes or refreshes a permission. The caller has seen that there is room: without, nothing happens. Whether it is a
    /// new one.
    pub(super) fn permit(&mut self, users: &mut Users, ip: IpAddr, expires_at_ns: u64) -> bool {
        if let Some(at) = self.permission_of(ip) {
            self.permissions[at].expires_at_ns = expires_at_ns;
            return false;
        }
        let Some(free) = self.permissions.iter_mut().find(|permission| permission.expires_at_ns == 0) else {
            debug_assert!(false, "the caller has seen that there is room");
            return false;
        };
        *free = PermissionRecord::new(ip, expires_at_ns);
        users.grow(self.user_at, Kind::Permission);
        true
    }

    /// Drops the permissions and channels whose time is over.
    pub(super) fn drop_expired(&mut self, users: &mut Users, now_ns: u64) {
        for permission in &mut self.permissions {
            if permission.expires_at_ns != 0 && permission.expires_at_ns <= now_ns {
                *permission = Zeroable::zeroed();
                users.shrink(self.user_at, Kind::Permission);
            }
        }
        for (number, channel) in self.channel_numbers.iter_mut().zip(&mut self.channels) {
            if channel.expires_at_ns != 0 && channel.expires_at_ns <= now_ns {
                (*number, *channel) = (0, Zeroable::zeroed());
                users.shrink(self.user_at, Kind::Channel);
            }
        }
    }

    /// Drops the permissions and channels of some peers.
    pub(super) fn drop_entries(&mut self, users: &mut Users, is_dropped: impl Fn(IpAddr) -> bool) {
        for permission in &mut self.permissions {
            if permission.ip().is_some_and(&is_dropped) {
                *permission = Zeroable::zeroed();
                users.shrink(self.user_at, Kind::Permission);
            }
        }
        for (number, channel) in self.channel_numbers.iter_mut().zip(&mut self.channels) {
            if channel.peer.get().map(|peer: SocketAddr| peer.ip()).is_some_and(&is_dropped) {
                (*number, *channel) = (0, Zeroable::zeroed());
                users.shrink(self.user_at, Kind::Channel);
            }
        }
    }

    /// When something of the allocation ends at the earliest.
    pub(super) fn earliest_deadline_ns(&self) -> u64 {
        let permissions = self.permissions.iter().map(|permission| permission.expires_at_ns);
        let channels = self.channels.iter().map(|channel| channel.expires_at_ns);
        let entries = permissions.chain(channels).filter(|&deadline_ns| deadline_ns != 0);
        entries.fold(self.expires_at_ns, u64::min)
    }
}
