//! `Subscriptions`: the names under which methods that return a stream are subscribed to.

use std::collections::HashMap;

use rpc_runtime::description::{MethodDescription, ServiceDescription};

/// The names of the subscriptions over WebSocket. [`HttpService::subscriptions`](crate::HttpService::subscriptions) offers
/// them.
///
/// Each method that returns a stream, and takes none, has a subscription. A method `ns.ticks` is subscribed to by
/// `ns.subscribe_ticks`, its items arrive in notifications `ns.ticks`, and `ns.unsubscribe_ticks` ends the subscription.
/// `PROTOCOL.md` describes the messages.
#[derive(Debug, Clone, Default)]
pub struct Subscriptions {
    renamed: Vec<(Box<str>, SubscriptionNames)>,
    by_parameter: Vec<(SubscriptionNames, MethodsByParameter)>,
}

/// The methods by the first parameter.
type MethodsByParameter = HashMap<Box<str>, Box<str>>;

/// The names of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionNames {
    /// The method that subscribes. Its result is the ID of the subscription.
    pub subscribe: String,
    /// The method of the notifications.
    pub notification: String,
    /// The method that ends the subscription whose ID is its parameter.
    pub unsubscribe: String,
}

impl SubscriptionNames {
    /// Returns the default names for a method.
    fn of(method: &str) -> Self {
        let at = method.rfind('.').map_or(0, |dot| dot + 1);
        let (namespace, name) = method.split_at(at);
        Self {
            subscribe: format!("{namespace}subscribe_{name}"),
            notification: method.to_owned(),
            unsubscribe: format!("{namespace}unsubscribe_{name}"),
        }
    }
}

impl Subscriptions {
    /// Creates the subscriptions with their default names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the names of the subscription to a method, in place of the default names.
    pub fn rename(mut self, method: impl Into<String>, names: SubscriptionNames) -> Self {
        self.renamed.push((method.into().into(), names));
        self
    }

    /// Adds names that several methods share: the first parameter of the request tells the method, as in `eth_subscribe` of
    /// Ethereum. The other parameters are those of the method. Each element of `methods` is a first parameter and a method.
    pub fn by_parameter<P, M>(
        mut self,
        names: SubscriptionNames,
        methods: impl IntoIterator<Item = (P, M)>,
    ) -> Self
    where
        P: Into<String>,
        M: Into<String>,
    {
        let methods = methods.into_iter();
        let methods = methods.map(|(first, method)| (first.into().into(), method.into().into()));
        self.by_parameter.push((names, methods.collect()));
        self
    }

    /// Returns the calls that subscribe and unsubscribe to methods of these services.
    ///
    /// # Panics
    /// Panics if two names are the same, or if a name is for a method that returns no stream.
    pub(crate) fn calls(self, services: &[&'static ServiceDescription]) -> SubscriptionCalls {
        let methods = || services.iter().flat_map(|service| service.methods);
        let is_stream = |method: &&MethodDescription| method.stream && method.upload.is_none();
        let streams: Vec<&str> = methods().filter(is_stream).map(|it| it.name).collect();
        let assert_stream = |method: &str| {
            assert!(
                streams.contains(&method),
                "`{method}` is no method that returns a stream and takes none"
            );
        };
        let mut calls = SubscriptionCalls::default();
        for &method in &streams {
            let renamed = self
                .renamed
                .iter()
                .rfind(|(renamed, _)| **renamed == *method);
            let names = renamed.map_or_else(|| SubscriptionNames::of(method), |it| it.1.clone());
            let target = Target::Method(method.into());
            calls.add(names, target);
        }
        for (method, _) in &self.renamed {
            assert_stream(method);
        }
        for (names, methods) in self.by_parameter {
            methods.iter().for_each(|(_, method)| assert_stream(method));
            calls.add(names, Target::ByParameter(methods));
        }
        for method in methods() {
            for name in [&method.name].into_iter().chain(method.aliases) {
                assert!(
                    !calls.0.contains_key(*name),
                    "a subscription and a method have the name `{name}`"
                );
            }
        }
        calls
    }
}

/// The calls that subscribe and unsubscribe, by the names of their methods.
#[derive(Debug, Clone, Default)]
pub(crate) struct SubscriptionCalls(HashMap<Box<str>, SubscriptionCall>);

#[derive(Debug, Clone)]
pub(crate) enum SubscriptionCall {
    Subscribe {
        target: Target,
        /// The method of the notifications, as text of JSON.
        notification: Box<str>,
    },
    Unsubscribe,
}

/// The method of a subscription.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Method(Box<str>),
    ByParameter(MethodsByParameter),
}

impl SubscriptionCalls {
    fn add(&mut self, names: SubscriptionNames, target: Target) {
        let SubscriptionNames {
            subscribe,
            notification,
            unsubscribe,
        } = names;
        let subscription = SubscriptionCall::Subscribe {
            target,
            notification: serde_json::Value::from(notification).to_string().into(),
        };
        for (name, call) in [
            (subscribe, subscription),
            (unsubscribe, SubscriptionCall::Unsubscribe),
        ] {
            let other = self.0.insert(name.as_str().into(), call);
            assert!(other.is_none(), "two subscriptions have the name `{name}`");
        }
    }

    /// Returns what a method subscribes to, or that it unsubscribes. Returns `None` if it does neither.
    pub(crate) fn find(&self, method: &str) -> Option<&SubscriptionCall> {
        self.0.get(method)
    }
}
