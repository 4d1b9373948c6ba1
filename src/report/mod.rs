//! What a run leaves behind besides its result: metrics, a record of how it came about, and a profile of
//! the device's time.

pub mod metrics;
pub mod profile;
mod record;

pub use record::RunRecord;
