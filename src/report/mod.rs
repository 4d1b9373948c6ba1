//! What a run leaves behind besides its result: metrics, figures, a record of how it came about, the report of a training,
//! and a profile of the device's time.

mod certificate;
mod filters;
mod flow;
pub mod metrics;
mod penalties;
pub mod plot;
pub mod profile;
mod record;
mod training;

pub use certificate::certificate;
pub use filters::filters_picture;
pub use flow::{FlowPictures, density_picture, flow_report};
pub use penalties::penalties_table;
pub use record::RunRecord;
pub use training::{layered_report, training_report};
