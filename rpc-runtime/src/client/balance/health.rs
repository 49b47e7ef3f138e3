//! The health of one of several servers, as observed by the calls to it.

use std::sync::Arc;

use crate::client::balance::outlier::{Ejection, OutlierDetector};
use crate::client::balance::stall::StallDetector;

/// Observes the calls to one of several servers, on all connections to it.
#[derive(Debug)]
pub(in crate::client) struct EndpointHealth {
    pub(in crate::client) outliers: OutlierDetector,
    pub(in crate::client) stalls: Arc<StallDetector>,
}

impl EndpointHealth {
    pub(in crate::client) fn new(ejection: Ejection) -> Self {
        Self {
            outliers: OutlierDetector::new(ejection),
            stalls: Arc::default(),
        }
    }
}
