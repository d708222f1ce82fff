//! What `ncclCommInitRankConfig` is told.
//!
//! `nccl.h` initialises this struct with a macro, which no binding can call. The struct has grown with the versions,
//! always at its end, and carries its size and the version of the header that its writer knew; NCCL reads no more
//! than that, and takes its own defaults for fields that this version did not have.

use std::mem::offset_of;
use std::ptr::null;

use cudarc::nccl::sys::ncclConfig_t;

use super::NcclVersion;

/// `NCCL_API_MAGIC`.
const MAGIC: u32 = 0xcafe_beef;

/// `NCCL_CONFIG_UNDEF_INT`: NCCL decides, or its environment.
const UNDEFINED: i32 = i32::MIN;

/// The newest header whose struct is known here. A newer NCCL is told this version, so that it expects no more.
const NEWEST_KNOWN: NcclVersion = NcclVersion(2_30_00);

/// From which version on the struct ends with which field, newest first. 2.26's addition took the place of padding.
const LAST_FIELDS: [(NcclVersion, usize); 5] = [
    (NEWEST_KNOWN, offset_of!(ncclConfig_t, maxP2pPeers)),
    (NcclVersion(2_29_00), offset_of!(ncclConfig_t, numRmaCtx)),
    (NcclVersion(2_28_00), offset_of!(ncclConfig_t, nvlinkCentricSched)),
    (NcclVersion(2_27_00), offset_of!(ncclConfig_t, nvlsCTAs)),
    (NcclVersion::OLDEST, offset_of!(ncclConfig_t, splitShare)),
];

/// The struct's size in bytes in the header of `version`, which is at least [`NcclVersion::OLDEST`].
fn size_bytes(version: NcclVersion) -> usize {
    let known = LAST_FIELDS.iter().find(|(since, _)| version >= *since);
    let (_, last_field) = known.expect("older versions are not opened");
    (last_field + size_of::<i32>()).next_multiple_of(align_of::<ncclConfig_t>())
}

/// A communicator whose calls return at once, and nothing else decided, as a program built against `version` says it.
pub(super) fn non_blocking(version: NcclVersion) -> ncclConfig_t {
    let known = version.min(NEWEST_KNOWN);
    ncclConfig_t {
        size: size_bytes(known),
        magic: MAGIC,
        version: known.0,
        blocking: 0,
        cgaClusterSize: UNDEFINED,
        minCTAs: UNDEFINED,
        maxCTAs: UNDEFINED,
        netName: null(),
        splitShare: UNDEFINED,
        trafficClass: UNDEFINED,
        commName: null(),
        collnetEnable: UNDEFINED,
        CTAPolicy: UNDEFINED,
        shrinkShare: UNDEFINED,
        nvlsCTAs: UNDEFINED,
        nChannelsPerNetPeer: UNDEFINED,
        nvlinkCentricSched: UNDEFINED,
        graphUsageMode: UNDEFINED,
        numRmaCtx: UNDEFINED,
        maxP2pPeers: UNDEFINED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written down from the headers of NCCL 2.18.1, 2.22.3, 2.24.3, 2.26.2, 2.27.3, 2.28.3, 2.29.2 and 2.30.
    #[test]
    fn the_struct_lies_in_memory_as_the_headers_say() {
        let offsets = [
            (offset_of!(ncclConfig_t, size), 0),
            (offset_of!(ncclConfig_t, magic), 8),
            (offset_of!(ncclConfig_t, version), 12),
            (offset_of!(ncclConfig_t, blocking), 16),
            (offset_of!(ncclConfig_t, cgaClusterSize), 20),
            (offset_of!(ncclConfig_t, minCTAs), 24),
            (offset_of!(ncclConfig_t, maxCTAs), 28),
            (offset_of!(ncclConfig_t, netName), 32),
            (offset_of!(ncclConfig_t, splitShare), 40),
            (offset_of!(ncclConfig_t, trafficClass), 44),
            (offset_of!(ncclConfig_t, commName), 48),
            (offset_of!(ncclConfig_t, collnetEnable), 56),
            (offset_of!(ncclConfig_t, CTAPolicy), 60),
            (offset_of!(ncclConfig_t, shrinkShare), 64),
            (offset_of!(ncclConfig_t, nvlsCTAs), 68),
            (offset_of!(ncclConfig_t, nChannelsPerNetPeer), 72),
            (offset_of!(ncclConfig_t, nvlinkCentricSched), 76),
            (offset_of!(ncclConfig_t, graphUsageMode), 80),
            (offset_of!(ncclConfig_t, numRmaCtx), 84),
            (offset_of!(ncclConfig_t, maxP2pPeers), 88),
        ];
        offsets.into_iter().for_each(|(ours, header)| assert_eq!(ours, header));
        let sizes = [
            (2_18_01, 48),
            (2_22_03, 48),
            (2_24_03, 48),
            (2_26_02, 48),
            (2_27_03, 72),
            (2_28_03, 80),
            (2_29_02, 88),
            (2_30_00, 96),
        ];
        for (version, size) in sizes {
            assert_eq!(size_bytes(NcclVersion(version)), size, "{}", NcclVersion(version));
        }
        assert_eq!(size_of::<ncclConfig_t>(), 96);
    }

    /// 2.30.5 reads a field more, where ours has padding.
    #[test]
    fn a_newer_version_is_told_the_newest_that_is_known() {
        for version in [2_30_05, 2_31_00, 3_00_00] {
            let config = non_blocking(NcclVersion(version));
            assert_eq!((config.version, config.size), (2_30_00, 96));
        }
        let config = non_blocking(NcclVersion(2_27_03));
        assert_eq!(
            (config.version, config.size, config.magic, config.blocking),
            (2_27_03, 72, 0xcafe_beef, 0)
        );
    }

    #[test]
    fn versions_are_written_as_people_write_them() {
        assert_eq!(NcclVersion(2_27_03).to_string(), "2.27.3");
        assert_eq!(NcclVersion::OLDEST.to_string(), "2.18.0");
    }
}
