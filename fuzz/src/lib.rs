//! What several fuzz targets need: JSON to begin with, and serde_json's opinion of it.

pub mod grammar;
pub mod oracle;
