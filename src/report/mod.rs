//! What a run leaves behind besides its result: metrics, figures, and a record of how it came about.

pub mod metrics;
pub mod plot;
mod record;

pub use record::RunRecord;
