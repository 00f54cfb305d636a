//! What a tenant keeps for whoever serves it, outside of its log: files that only their owner may read. And the world that
//! the tenant was handed, so that whoever serves it has the same time and the same chance.

use quipu_domain::Timestamp;
use quipu_store::{Fault, private};

use crate::tenant::Tenant;

impl Tenant {
    /// The bytes of a private file; nothing if there is none. Backups and exports do not have it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn read_private(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        private::read(self.world.storage.as_ref(), self.folder(), name)
    }

    /// Puts these bytes in the place of a private file, durably and whole.
    ///
    /// # Errors
    /// The disk refuses; the file is as it was.
    pub fn write_private(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        private::write(self.world.storage.as_ref(), self.folder(), name, bytes)
    }

    /// Where a private file is, for messages.
    pub fn private_path(&self, name: &str) -> String {
        self.world.storage.display(&private::path(self.folder(), name))
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    /// Fills the bytes by chance.
    pub fn fill_random(&self, bytes: &mut [u8]) {
        self.world.random.fill(bytes);
    }

    /// Sixteen hexadecimal digits by chance.
    pub(crate) fn random_id(&self) -> String {
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes);
        format!("{:016x}", u64::from_le_bytes(bytes))
    }
}
