//! Messages about shared memory.

use tidegate_protocol::inference as pb;
use tidegate_protocol::inference::system_shared_memory_status_response as status;

use crate::shared_memory::RegionStatus;

pub(super) fn region(message: pb::SystemSharedMemoryRegisterRequest) -> RegionStatus {
    RegionStatus {
        name: message.name,
        key: message.key,
        offset: message.offset,
        byte_size: message.byte_size,
    }
}

pub(super) fn regions(regions: Vec<RegionStatus>) -> pb::SystemSharedMemoryStatusResponse {
    let regions = regions.into_iter().map(|region| {
        let message = status::RegionStatus {
            name: region.name.clone(),
            key: region.key,
            offset: region.offset,
            byte_size: region.byte_size,
        };
        (region.name, message)
    });
    pb::SystemSharedMemoryStatusResponse {
        regions: regions.collect(),
    }
}
