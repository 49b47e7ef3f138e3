//! Load balancing over several servers: the list of servers, the choice of a server for a call, and the ejection of servers.

pub(super) mod endpoint_list;
pub(super) mod endpoints;
pub(super) mod health;
pub(super) mod outlier;
pub(super) mod p2c;
pub(super) mod probe;
pub(super) mod stall;
