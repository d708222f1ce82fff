//! From where the words of a device travel: its memory, or the host's, to which they are copied.

use tch::kind::Element;
use tch::{Device, Kind, Tensor};

use crate::native::shared_with;
use crate::tensors::words_mut;
use crate::word::{DeviceWordKind, DeviceWords, Words};

pub(super) struct DeviceTravel {
    device: Device,
    /// A GPU's words too.
    pub from_host: bool,
    /// Memory of the host that the device reads and writes by itself, for words of each kind that were copied.
    staging: Vec<Tensor>,
}

impl DeviceTravel {
    pub fn new(device: Device) -> Self {
        Self { device, from_host: false, staging: vec![] }
    }

    /// Words for a collective: where they lie; or what `copy` makes of them on the host, once the device has computed them.
    pub fn take(
        &mut self,
        words: &Tensor,
        kind: DeviceWordKind,
        copy: impl FnOnce(&Tensor) -> Words,
    ) -> Words {
        if self.device == Device::Cpu {
            return copy(words);
        }
        if !self.from_host {
            return Words::Device(DeviceWords { start: words.data_ptr(), count: words.numel(), kind });
        }
        let staging = self.staging(words.numel(), words.kind());
        staging.copy_(words);
        copy(staging)
    }

    /// Puts words of the host.
    pub fn put<W: Element + Copy>(&mut self, from: &[W], to: &mut Tensor) {
        if self.device == Device::Cpu {
            return words_mut(to).copy_from_slice(from);
        }
        let staging = self.staging(from.len(), W::KIND);
        words_mut(staging).copy_from_slice(from);
        to.copy_(staging);
    }

    fn staging(&mut self, len: usize, kind: Kind) -> &mut Tensor {
        let is_it = |tensor: &Tensor| (tensor.numel(), tensor.kind()) == (len, kind);
        let index = self.staging.iter().position(is_it).unwrap_or_else(|| {
            self.staging.push(shared_with(self.device, len as i64, kind));
            self.staging.len() - 1
        });
        &mut self.staging[index]
    }
}
