//! Names for things: ids that signaling mints, and slots that say where a thing stands in its table.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(transparent)]
        pub struct $name(pub $inner);
    };
}

macro_rules! slot {
    ($(#[$doc:meta])* $name:ident) => {
        id!($(#[$doc])* $name(u32));

        impl $name {
            /// Points nowhere.
            pub const NONE: Self = Self(u32::MAX);

            /// Place in its table.
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// Itself, unless it points nowhere.
            pub const fn get(self) -> Option<Self> {
                if self.is_none() { None } else { Some(self) }
            }

            /// Whether it points nowhere.
            pub const fn is_none(self) -> bool {
                self.0 == u32::MAX
            }
        }

        impl From<usize> for $name {
            fn from(index: usize) -> Self {
                Self(u32::try_from(index).expect("tables are far shorter than 2^32"))
            }
        }

        impl From<$name> for usize {
            fn from(slot: $name) -> Self {
                slot.index()
            }
        }
    };
}

id!(
    /// A room: in OpenVidu's words a session.
    RoomId(u64)
);
id!(
    /// A peer: one browser's transport.
    PeerId(u64)
);
id!(
    /// A track: one published stream.
    TrackId(u64)
);
id!(
    /// A subscription: one viewer's copy of one track.
    SubscriptionId(u64)
);
slot!(
    /// Where a peer stands in its shard's table.
    PeerSlot
);
slot!(
    /// Where a track stands in its shard's table.
    TrackSlot
);
slot!(
    /// Where an incoming stream stands in its shard's table.
    InboundSlot
);
slot!(
    /// Where a subscription stands in its shard's table.
    SubscriptionSlot
);
