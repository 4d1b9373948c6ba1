//! What a run leaves behind besides its result: metrics and a record of how it came about.

pub mod metrics;
mod record;

pub use record::RunRecord;
