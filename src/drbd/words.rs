//! The state words of DRBD 9, as `drbd_strings.c` of 9.3.3 lists them. Each enum keeps a word it does not know.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A word of a later DRBD; never to be taken for a healthy one.
            Other(String),
        }

        impl $name {
            /// Every word known, in the kernel's order.
            pub const KNOWN: &'static [&'static str] = &[$($word),+];

            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }

            pub fn is_known(&self) -> bool {
                !matches!(self, Self::Other(_))
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(d)?.as_str()))
            }
        }
    };
}

words! {
    /// `Unknown` is DRBD's own word for the role of a peer that is not connected.
    Role { Unknown = "Unknown", Primary = "Primary", Secondary = "Secondary" }
}

words! {
    DiskState {
        Diskless = "Diskless",
        Attaching = "Attaching",
        Detaching = "Detaching",
        Failed = "Failed",
        Negotiating = "Negotiating",
        Inconsistent = "Inconsistent",
        Outdated = "Outdated",
        /// Of a peer that is not connected.
        DUnknown = "DUnknown",
        Consistent = "Consistent",
        UpToDate = "UpToDate",
    }
}

words! {
    ConnectionState {
        StandAlone = "StandAlone",
        Disconnecting = "Disconnecting",
        Unconnected = "Unconnected",
        Timeout = "Timeout",
        BrokenPipe = "BrokenPipe",
        NetworkFailure = "NetworkFailure",
        ProtocolError = "ProtocolError",
        TearDown = "TearDown",
        Connecting = "Connecting",
        Connected = "Connected",
    }
}

words! {
    ReplicationState {
        Off = "Off",
        Established = "Established",
        StartingSyncS = "StartingSyncS",
        StartingSyncT = "StartingSyncT",
        WFBitMapS = "WFBitMapS",
        WFBitMapT = "WFBitMapT",
        WFSyncUUID = "WFSyncUUID",
        SyncSource = "SyncSource",
        SyncTarget = "SyncTarget",
        VerifyS = "VerifyS",
        VerifyT = "VerifyT",
        PausedSyncS = "PausedSyncS",
        PausedSyncT = "PausedSyncT",
        Ahead = "Ahead",
        Behind = "Behind",
    }
}

impl ReplicationState {
    /// This node receives data to become UpToDate (running, paused or about to start).
    pub fn is_sync_target(&self) -> bool {
        matches!(
            self,
            Self::StartingSyncT
                | Self::WFBitMapT
                | Self::WFSyncUUID
                | Self::SyncTarget
                | Self::PausedSyncT
                | Self::Behind
        )
    }

    /// This node sends data to that peer (running, paused or about to start).
    pub fn is_sync_source(&self) -> bool {
        matches!(self, Self::StartingSyncS | Self::WFBitMapS | Self::SyncSource | Self::PausedSyncS | Self::Ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lists of drbd_strings.c, 9.3.3, written out a second time on purpose.
    #[test]
    fn every_word_of_the_kernel_has_a_variant_and_survives_both_ways() {
        for word in "Unknown Primary Secondary".split(' ') {
            assert!(Role::from(word).is_known() && Role::from(word).as_str() == word, "{word}");
        }
        let disk = "Diskless Attaching Detaching Failed Negotiating Inconsistent Outdated DUnknown Consistent UpToDate";
        for word in disk.split(' ') {
            assert!(DiskState::from(word).is_known() && DiskState::from(word).as_str() == word, "{word}");
        }
        let connection = "StandAlone Disconnecting Unconnected Timeout BrokenPipe NetworkFailure ProtocolError \
                          TearDown Connecting Connected";
        for word in connection.split_whitespace() {
            assert!(ConnectionState::from(word).is_known() && ConnectionState::from(word).as_str() == word, "{word}");
        }
        let replication = "Off Established StartingSyncS StartingSyncT WFBitMapS WFBitMapT WFSyncUUID SyncSource \
                           SyncTarget VerifyS VerifyT PausedSyncS PausedSyncT Ahead Behind";
        for word in replication.split_whitespace() {
            assert!(ReplicationState::from(word).is_known() && ReplicationState::from(word).as_str() == word, "{word}");
        }
        assert_eq!(replication.split_whitespace().count(), ReplicationState::KNOWN.len());
        assert_eq!(connection.split_whitespace().count(), ConnectionState::KNOWN.len());
        assert_eq!(disk.split(' ').count(), DiskState::KNOWN.len());
    }

    #[test]
    fn a_word_of_tomorrow_is_kept() {
        let state: DiskState = serde_json::from_str("\"HalfFull\"").unwrap();
        assert_eq!(state, DiskState::Other("HalfFull".into()));
        assert_eq!(serde_json::to_string(&state).unwrap(), "\"HalfFull\"");
    }
}
