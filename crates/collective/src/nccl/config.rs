//! The argument of `ncclCommInitRankConfig`.
//!
//! `nccl.h` initialises this struct with a macro, which no binding can call. New versions of NCCL append fields. The
//! struct holds its size and the version of the header that its writer used; NCCL reads no further, and uses defaults for
//! the fields that this version lacks.

use std::mem::offset_of;
use std::ptr::null;

use cudarc::nccl::sys::ncclConfig_t;

use super::NcclVersion;

/// `NCCL_API_MAGIC`.
const MAGIC: u32 = 0xcafe_beef;

/// `NCCL_CONFIG_UNDEF_INT`: NCCL decides, or its environment.
const UNDEFINED: i32 = i32::MIN;

/// The newest header whose struct is known here. A newer NCCL gets this version, so that it expects no more.
const NEWEST_KNOWN: NcclVersion = NcclVersion(2_30_00);

/// The struct's last field from each version on, newest first. The field added in 2.26 replaced padding.
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

/// A non-blocking communicator, with everything else undefined, as a program built against `version` asks for it.
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

    /// From the headers of NCCL 2.18.1, 2.22.3, 2.24.3, 2.26.2, 2.27.3, 2.28.3, 2.29.2 and 2.30.
    #[test]
    fn the_struct_lies_in_memory_as_the_headers_say() {
        macro_rules! offsets {
            ($($field:ident $offset:literal),*) => { [$((offset_of!(ncclConfig_t, $field), $offset)),*] };
        }
        let offsets = offsets![
            size 0, magic 8, version 12, blocking 16, cgaClusterSize 20, minCTAs 24, maxCTAs 28, netName 32,
            splitShare 40, trafficClass 44, commName 48, collnetEnable 56, CTAPolicy 60, shrinkShare 64, nvlsCTAs 68,
            nChannelsPerNetPeer 72, nvlinkCentricSched 76, graphUsageMode 80, numRmaCtx 84, maxP2pPeers 88
        ];
        offsets.into_iter().for_each(|(ours, header)| assert_eq!(ours, header));
        let of_2_18 = [2_18_01, 2_22_03, 2_24_03, 2_26_02].map(|version| (version, 48));
        let newer = [(2_27_03, 72), (2_28_03, 80), (2_29_02, 88), (2_30_00, 96)];
        for (version, size) in of_2_18.into_iter().chain(newer) {
            assert_eq!(size_bytes(NcclVersion(version)), size, "{}", NcclVersion(version));
        }
        assert_eq!(size_of::<ncclConfig_t>(), 96);
    }

    /// 2.30.5 reads one more field, where this struct has padding.
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
