//! What a run leaves behind besides its result: metrics, figures, and a record of how it came about.

mod certificate;
mod filters;
pub mod metrics;
pub mod plot;
mod record;

pub use certificate::certificate;
pub use filters::filters_picture;
pub use record::RunRecord;
