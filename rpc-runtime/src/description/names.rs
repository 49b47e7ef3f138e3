//! Checks the names of methods across all services of an endpoint.

use std::collections::HashMap;

use thiserror::Error;

use crate::description::types::ServiceDescription;

/// Two services have a method of the same name.
#[derive(Debug, Error)]
#[error("the services {} and {} both have a method `{method}`; give one a namespace", services[0], services[1])]
pub(crate) struct DuplicateMethod {
    pub(crate) method: &'static str,
    pub(crate) services: [&'static str; 2],
}

/// Checks that every name, including aliases, belongs to one method only.
pub(crate) fn check_names(services: &[&'static ServiceDescription]) -> Result<(), DuplicateMethod> {
    let mut owners = HashMap::new();
    for service in services {
        for method in service.methods {
            for name in std::iter::once(&method.name).chain(method.aliases) {
                if let Some(other) = owners.insert(*name, service.name) {
                    return Err(DuplicateMethod {
                        method: name,
                        services: [other, service.name],
                    });
                }
            }
        }
    }
    Ok(())
}
