//! Changes of a service: what callers of the old trait get from the new server, what callers of the new trait get from
//! the old server, and what `rpc check` reports. `docs/evolution.md` names these tests.

use std::fs;

use rpc_runtime::description::{Described, OpenRpc};
use rpc_runtime::{CallError, Client, RpcError, code, rpc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::program::rpc;

/// Returns the severities that `rpc check` reports for the change from one trait to another, each once.
fn checked<Old: Described, New: Described>(name: &str) -> Vec<String> {
    let document = |side: &str, document: OpenRpc| {
        let (folder, id) = (env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let path = format!("{folder}/evolution-{name}-{side}-{id}.json");
        fs::write(&path, serde_json::to_string(&document).unwrap()).unwrap();
        path
    };
    let old = document("old", OpenRpc::of::<Old>());
    let new = document("new", OpenRpc::of::<New>());
    let ended = rpc(&["check", &old, &new, "--json"]);
    let _ = (fs::remove_file(old), fs::remove_file(new));
    let changes: Value = serde_json::from_str(&ended.stdout).unwrap();
    let severities = changes.as_object().unwrap().iter();
    let found = severities.filter(|(_, changes)| !changes.as_array().unwrap().is_empty());
    let found: Vec<_> = found.map(|(severity, _)| severity.clone()).collect();
    assert_eq!(ended.status == 1, found.contains(&"breaking".to_owned()));
    found
}

/// Returns the code of the error with which the server answered.
fn code_of<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, CallError<E>>) -> i64 {
    match result {
        Err(CallError::Remote(error)) => error.code(),
        other => panic!("{other:?}"),
    }
}

const COMPATIBLE: [&str; 1] = ["compatible"];
const BREAKING: [&str; 1] = ["breaking"];

/// Declares the versions of a trait `Desk`, each with a handler `Clerk`.
macro_rules! versions {
    ($($version:ident { $($items:tt)* } { $($handlers:tt)* })*) => { $(
        mod $version {
            #[allow(unused_imports)] // some versions need none of them
            use super::*;

            $($items)*

            #[derive(Default)]
            pub(super) struct Clerk;

            impl Desk for Clerk { $($handlers)* }

            pub(super) fn server() -> Client {
                Client::local(DeskServer::new(Clerk))
            }
        }
    )* };
}

mod added_method {
    use super::*;

    versions! {
        old {
            #[rpc(openrpc)]
            pub(super) trait Desk { async fn one(&self) -> u32; }
        } { async fn one(&self) -> u32 { 1 } }
        new {
            #[rpc(openrpc)]
            pub(super) trait Desk { async fn one(&self) -> u32; async fn two(&self) -> u32; }
        } { async fn one(&self) -> u32 { 1 } async fn two(&self) -> u32 { 2 } }
    }

    #[tokio::test]
    async fn added_method_is_unknown_to_an_old_server() {
        assert_eq!(old::DeskClient::new(new::server()).one().await.unwrap(), 1);
        let client = new::DeskClient::new(old::server());
        assert_eq!(client.one().await.unwrap(), 1);
        assert_eq!(code_of(client.two().await), code::METHOD_NOT_FOUND);
        assert_eq!(
            checked::<old::DeskClient, new::DeskClient>("method"),
            COMPATIBLE
        );
        assert_eq!(
            checked::<new::DeskClient, old::DeskClient>("no-method"),
            BREAKING
        );
    }
}

mod renamed_method {
    use super::*;

    versions! {
        old {
            #[rpc(openrpc)]
            pub(super) trait Desk { async fn one(&self) -> u32; }
        } { async fn one(&self) -> u32 { 1 } }
        new {
            #[rpc(openrpc)]
            pub(super) trait Desk { #[rpc(alias = "one")] async fn first(&self) -> u32; }
        } { async fn first(&self) -> u32 { 1 } }
    }

    #[tokio::test]
    async fn renamed_method_is_found_by_its_alias() {
        assert_eq!(old::DeskClient::new(new::server()).one().await.unwrap(), 1);
        let client = new::DeskClient::new(old::server());
        assert_eq!(code_of(client.first().await), code::METHOD_NOT_FOUND);
        assert_eq!(
            checked::<old::DeskClient, new::DeskClient>("alias"),
            COMPATIBLE
        );
    }
}

mod added_optional_parameter {
    use super::*;

    versions! {
        old {
            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn get(&self, id: u32) -> String;
                async fn all(&self) -> String;
            }
        } {
            async fn get(&self, id: u32) -> String { id.to_string() }
            async fn all(&self) -> String { "all".into() }
        }
        new {
            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn get(&self, id: u32, note: Option<&str>, size: Option<u64>) -> String;
                async fn all(&self, note: Option<String>) -> String;
            }
        } {
            async fn get(&self, id: u32, note: Option<&str>, size: Option<u64>) -> String {
                format!("{id} {note:?} {size:?}")
            }
            async fn all(&self, note: Option<String>) -> String { format!("{note:?}") }
        }
    }

    #[tokio::test]
    async fn added_optional_parameter_reaches_an_old_server_as_long_as_it_is_none() {
        let client = new::DeskClient::new(old::server());
        assert_eq!(client.get(7, None, None).await.unwrap(), "7");
        assert_eq!(client.all(None).await.unwrap(), "all");
        for (note, size) in [(Some("n"), None), (None, Some(1))] {
            let refused = client.get(7, note, size).await;
            assert_eq!(code_of(refused), code::INVALID_PARAMS);
        }
        let client = old::DeskClient::new(new::server());
        assert_eq!(client.get(7).await.unwrap(), "7 None None");
        let client = new::DeskClient::new(new::server());
        assert_eq!(
            client.get(7, None, Some(1)).await.unwrap(),
            "7 None Some(1)"
        );
        assert_eq!(
            client.get(7, Some("n"), None).await.unwrap(),
            "7 Some(\"n\") None"
        );
        assert_eq!(
            checked::<old::DeskClient, new::DeskClient>("optional"),
            COMPATIBLE
        );
    }

    #[tokio::test]
    async fn removed_optional_parameter_is_rejected_unless_it_is_none() {
        // The new trait is the older one here.
        let client = new::DeskClient::new(old::server());
        assert_eq!(client.all(None).await.unwrap(), "all");
        let other = old::DeskClient::new(new::server());
        assert_eq!(other.all().await.unwrap(), "None");
        assert_eq!(
            code_of(client.all(Some("n".into())).await),
            code::INVALID_PARAMS
        );
        assert_eq!(
            checked::<new::DeskClient, old::DeskClient>("no-optional"),
            BREAKING
        );
    }

    #[tokio::test]
    async fn optional_arguments_of_a_batch_are_left_out() {
        let client = old::server();
        let desk = new::DeskClient::new(client.clone());
        let mut batch = client.batch();
        let entry = batch.call(desk.get(7, None, None));
        let mut replies = batch.send().await.unwrap();
        assert_eq!(replies.take(entry).unwrap(), "7");
    }
}

mod lenient_server {
    use super::*;

    versions! {
        old {
            #[rpc(openrpc, lenient)]
            pub(super) trait Desk { async fn get(&self, id: u32) -> u32; }
        } { async fn get(&self, id: u32) -> u32 { id } }
        new {
            #[rpc(openrpc, lenient)]
            pub(super) trait Desk { async fn get(&self, id: u32, note: Option<&str>) -> u32; }
        } { async fn get(&self, id: u32, note: Option<&str>) -> u32 { id + note.map_or(0, |_| 1) } }
    }

    #[tokio::test]
    async fn lenient_server_ignores_a_parameter_that_it_does_not_have() {
        let client = new::DeskClient::new(old::server());
        assert_eq!(client.get(7, Some("n")).await.unwrap(), 7);
        let old_caller = old::DeskClient::new(new::server());
        assert_eq!(old_caller.get(7).await.unwrap(), 7);
        assert_eq!(
            checked::<old::DeskClient, new::DeskClient>("lenient"),
            COMPATIBLE
        );
    }
}

mod added_default {
    use super::*;

    versions! {
        old {
            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn get(&self, id: u32) -> u32;
                async fn most(&self, most: Option<u32>) -> Option<u32>;
                async fn range(&self, least: Option<u32>, most: Option<u32>) -> (Option<u32>, Option<u32>);
            }
        } {
            async fn get(&self, id: u32) -> u32 { id }
            async fn most(&self, most: Option<u32>) -> Option<u32> { most }
            async fn range(&self, least: Option<u32>, most: Option<u32>) -> (Option<u32>, Option<u32>) { (least, most) }
        }
        new {
            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn get(&self, id: u32, #[rpc(default = 2)] times: u32) -> u32;
                async fn most(&self, #[rpc(default = Some(5))] most: Option<u32>) -> Option<u32>;
                async fn range(
                    &self,
                    #[rpc(default = Some(1))] least: Option<u32>,
                    #[rpc(default = Some(5))] most: Option<u32>,
                ) -> (Option<u32>, Option<u32>);
            }
        } {
            async fn get(&self, id: u32, times: u32) -> u32 { id * times }
            async fn most(&self, most: Option<u32>) -> Option<u32> { most }
            async fn range(&self, least: Option<u32>, most: Option<u32>) -> (Option<u32>, Option<u32>) { (least, most) }
        }
    }

    #[tokio::test]
    async fn added_parameter_with_a_default_is_always_sent() {
        assert_eq!(
            old::DeskClient::new(new::server()).get(7).await.unwrap(),
            14
        );
        let client = new::DeskClient::new(old::server());
        assert_eq!(code_of(client.get(7, 2).await), code::INVALID_PARAMS);
    }

    #[tokio::test]
    async fn default_of_an_optional_parameter_replaces_none_of_old_callers() {
        let old_caller = old::DeskClient::new(new::server());
        assert_eq!(old_caller.most(None).await.unwrap(), Some(5));
        let new_caller = new::DeskClient::new(new::server());
        assert_eq!(new_caller.most(None).await.unwrap(), None);
        let new_caller = new::DeskClient::new(old::server());
        assert_eq!(new_caller.most(None).await.unwrap(), None);
        // Only the last arguments are left out: a null before another argument is a value.
        let old_caller = old::DeskClient::new(new::server());
        let range = async |least, most| old_caller.range(least, most).await.unwrap();
        assert_eq!(range(None, Some(9)).await, (None, Some(9)));
        assert_eq!(range(Some(3), None).await, (Some(3), Some(5)));
        assert_eq!(range(None, None).await, (Some(1), Some(5)));
        let found = checked::<old::DeskClient, new::DeskClient>("default");
        assert_eq!(found, ["may_break", "compatible"]);
    }
}

mod changed_parameters {
    use super::*;

    versions! {
        old {
            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn required(&self, id: u32) -> u32;
                async fn renamed(&self, id: u32) -> u32;
                async fn wider(&self, id: u32) -> u64;
            }
        } {
            async fn required(&self, id: u32) -> u32 { id }
            async fn renamed(&self, id: u32) -> u32 { id }
            async fn wider(&self, id: u32) -> u64 { id.into() }
        }
        new {
            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn required(&self, id: u32, more: u32) -> u32;
                async fn renamed(&self, number: u32) -> u32;
                async fn wider(&self, id: Option<u64>) -> u64;
            }
        } {
            async fn required(&self, id: u32, more: u32) -> u32 { id + more }
            async fn renamed(&self, number: u32) -> u32 { number }
            async fn wider(&self, id: Option<u64>) -> u64 { id.unwrap_or(0) }
        }
    }

    #[tokio::test]
    async fn added_required_parameter_breaks_in_both_directions() {
        let old_caller = old::DeskClient::new(new::server());
        assert_eq!(code_of(old_caller.required(7).await), code::INVALID_PARAMS);
        let new_caller = new::DeskClient::new(old::server());
        assert_eq!(
            code_of(new_caller.required(7, 1).await),
            code::INVALID_PARAMS
        );
        let found = checked::<old::DeskClient, new::DeskClient>("required");
        assert_eq!(found, ["breaking", "compatible"]);
    }

    #[tokio::test]
    async fn renamed_parameter_breaks_callers_by_name_only() {
        assert_eq!(
            old::DeskClient::new(new::server())
                .renamed(7)
                .await
                .unwrap(),
            7
        );
        assert_eq!(
            new::DeskClient::new(old::server())
                .renamed(7)
                .await
                .unwrap(),
            7
        );
        let named = serde_json::json!({"id": 7});
        let by_name = new::server().call::<u32, _>("renamed", &named).await;
        let refused = match by_name {
            Err(CallError::Application(error) | CallError::Remote(error)) => error.code(),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused, code::INVALID_PARAMS);
    }

    #[tokio::test]
    async fn parameter_that_accepts_more_needs_a_new_server_for_more() {
        assert_eq!(
            old::DeskClient::new(new::server()).wider(7).await.unwrap(),
            7
        );
        let client = new::DeskClient::new(old::server());
        assert_eq!(client.wider(Some(7)).await.unwrap(), 7);
        for more in [Some(u64::MAX), None] {
            assert_eq!(code_of(client.wider(more).await), code::INVALID_PARAMS);
        }
    }
}

mod fields {
    use super::*;

    versions! {
        old {
            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            pub(super) struct Order { pub(super) item: String }

            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn send(&self, order: Order) -> String;
                async fn get(&self) -> Order;
            }
        } {
            async fn send(&self, order: Order) -> String { order.item }
            async fn get(&self) -> Order { Order { item: "pear".into() } }
        }
        optional {
            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            pub(super) struct Order { pub(super) item: String, #[serde(default)] pub(super) size: u32, pub(super) note: Option<String> }

            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn send(&self, order: Order) -> String;
                async fn get(&self) -> Order;
            }
        } {
            async fn send(&self, order: Order) -> String { format!("{} {}", order.item, order.size) }
            async fn get(&self) -> Order { Order { item: "pear".into(), size: 3, note: None } }
        }
        required {
            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            pub(super) struct Order { pub(super) item: String, pub(super) size: u32 }

            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn send(&self, order: Order) -> String;
                async fn get(&self) -> Order;
            }
        } {
            async fn send(&self, order: Order) -> String { order.item }
            async fn get(&self) -> Order { Order { item: "pear".into(), size: 3 } }
        }
        renamed {
            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            pub(super) struct Order { #[serde(alias = "item")] pub(super) article: String }

            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn send(&self, order: Order) -> String;
                async fn get(&self) -> Order;
            }
        } {
            async fn send(&self, order: Order) -> String { order.article }
            async fn get(&self) -> Order { Order { article: "pear".into() } }
        }
    }

    #[tokio::test]
    async fn added_field_is_ignored_by_the_old_side_and_missing_for_the_new_side() {
        let old_caller = old::DeskClient::new(optional::server());
        let order = old::Order {
            item: "pear".into(),
        };
        assert_eq!(old_caller.send(order).await.unwrap(), "pear 0");
        assert_eq!(old_caller.get().await.unwrap().item, "pear");
        let new_caller = optional::DeskClient::new(old::server());
        let order = optional::Order {
            item: "pear".into(),
            size: 3,
            note: Some("n".into()),
        };
        assert_eq!(new_caller.send(order).await.unwrap(), "pear");
        let got = new_caller.get().await.unwrap();
        assert_eq!((got.size, got.note), (0, None));
        assert_eq!(
            checked::<old::DeskClient, optional::DeskClient>("field"),
            COMPATIBLE
        );
    }

    #[tokio::test]
    async fn required_field_of_an_argument_breaks_callers_without_it() {
        let with = || required::Order {
            item: "pear".into(),
            size: 3,
        };
        let without = || old::Order {
            item: "pear".into(),
        };
        let rejected = old::DeskClient::new(required::server())
            .send(without())
            .await;
        assert_eq!(code_of(rejected), code::INVALID_PARAMS);
        let ignored = required::DeskClient::new(old::server()).send(with()).await;
        assert_eq!(ignored.unwrap(), "pear");
    }

    #[tokio::test]
    async fn required_field_of_a_result_breaks_callers_of_servers_without_it() {
        let ignored = old::DeskClient::new(required::server())
            .get()
            .await
            .unwrap();
        assert_eq!(ignored.item, "pear");
        let missing = required::DeskClient::new(old::server()).get().await;
        assert!(matches!(missing, Err(CallError::Decode(_))), "{missing:?}");
        let found = checked::<old::DeskClient, required::DeskClient>("required-field");
        assert_eq!(
            found,
            ["breaking", "compatible"],
            "of the argument and of the result"
        );
    }

    #[tokio::test]
    async fn renamed_field_with_an_alias_is_read_by_the_new_side_only() {
        let (old_caller, new_caller) = (
            old::DeskClient::new(renamed::server()),
            renamed::DeskClient::new(old::server()),
        );
        let order = old::Order {
            item: "pear".into(),
        };
        assert_eq!(old_caller.send(order).await.unwrap(), "pear");
        let unreadable = old_caller.get().await;
        assert!(
            matches!(unreadable, Err(CallError::Decode(_))),
            "{unreadable:?}"
        );
        let order = renamed::Order {
            article: "pear".into(),
        };
        assert_eq!(code_of(new_caller.send(order).await), code::INVALID_PARAMS);
        assert_eq!(new_caller.get().await.unwrap().article, "pear");
        // The description does not show aliases.
        let found = checked::<old::DeskClient, renamed::DeskClient>("renamed-field");
        assert!(found.contains(&"breaking".to_owned()), "{found:?}");
    }
}

mod strict_fields {
    use super::*;

    versions! {
        old {
            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub(super) struct Strict { pub(super) item: String }

            #[rpc(openrpc)]
            pub(super) trait Desk { async fn strict(&self, order: Strict) -> String; }
        } { async fn strict(&self, order: Strict) -> String { order.item } }
        new {
            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub(super) struct Strict { pub(super) item: String, pub(super) note: Option<String> }

            #[rpc(openrpc)]
            pub(super) trait Desk { async fn strict(&self, order: Strict) -> String; }
        } { async fn strict(&self, order: Strict) -> String { order.item } }
    }

    #[tokio::test]
    async fn added_field_is_rejected_by_an_old_server_that_denies_unknown_fields() {
        let new_caller = new::DeskClient::new(old::server());
        let order = new::Strict {
            item: "pear".into(),
            note: None,
        };
        assert_eq!(
            code_of(new_caller.strict(order).await),
            code::INVALID_PARAMS
        );
        let old_caller = old::DeskClient::new(new::server());
        let order = old::Strict {
            item: "pear".into(),
        };
        assert_eq!(old_caller.strict(order).await.unwrap(), "pear");
        assert_eq!(
            checked::<old::DeskClient, new::DeskClient>("strict-field"),
            COMPATIBLE
        );
    }
}

mod removed_field {
    use super::*;

    versions! {
        old {
            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            pub(super) struct Order { pub(super) item: String, pub(super) size: u32 }

            #[rpc(openrpc)]
            pub(super) trait Desk { async fn get(&self) -> Order; }
        } { async fn get(&self) -> Order { Order { item: "pear".into(), size: 3 } } }
        new {
            #[derive(Debug, Serialize, Deserialize, JsonSchema)]
            pub(super) struct Order { pub(super) item: String }

            #[rpc(openrpc)]
            pub(super) trait Desk { async fn get(&self) -> Order; }
        } { async fn get(&self) -> Order { Order { item: "pear".into() } } }
    }

    #[tokio::test]
    async fn removed_field_of_a_result_breaks_old_callers() {
        let old_caller = old::DeskClient::new(new::server());
        assert!(matches!(old_caller.get().await, Err(CallError::Decode(_))));
        assert_eq!(
            new::DeskClient::new(old::server())
                .get()
                .await
                .unwrap()
                .item,
            "pear"
        );
        assert_eq!(
            checked::<old::DeskClient, new::DeskClient>("removed-field"),
            BREAKING
        );
    }
}

mod variants {
    use super::*;

    versions! {
        old {
            #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub(super) enum Colour { Red }

            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn paint(&self, colour: Colour) -> bool;
                async fn colour(&self, last: bool) -> Colour;
            }
        } {
            async fn paint(&self, _: Colour) -> bool { true }
            async fn colour(&self, _: bool) -> Colour { Colour::Red }
        }
        new {
            #[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            pub(super) enum Colour { Red, Blue }

            #[rpc(openrpc)]
            pub(super) trait Desk {
                async fn paint(&self, colour: Colour) -> bool;
                async fn colour(&self, last: bool) -> Colour;
            }
        } {
            async fn paint(&self, _: Colour) -> bool { true }
            async fn colour(&self, last: bool) -> Colour { if last { Colour::Blue } else { Colour::Red } }
        }
    }

    #[tokio::test]
    async fn added_variant_is_unreadable_for_the_old_side() {
        let new_caller = new::DeskClient::new(old::server());
        assert!(new_caller.paint(new::Colour::Red).await.unwrap());
        let refused = new_caller.paint(new::Colour::Blue).await;
        assert_eq!(code_of(refused), code::INVALID_PARAMS);
        let old_caller = old::DeskClient::new(new::server());
        assert!(old_caller.paint(old::Colour::Red).await.unwrap());
        assert_eq!(old_caller.colour(false).await.unwrap(), old::Colour::Red);
        let unreadable = old_caller.colour(true).await;
        assert!(
            matches!(unreadable, Err(CallError::Decode(_))),
            "{unreadable:?}"
        );
        let found = checked::<old::DeskClient, new::DeskClient>("variant");
        assert_eq!(
            found,
            ["breaking", "compatible"],
            "of the result and of the parameter"
        );
    }
}

mod errors {
    use super::*;

    versions! {
        old {
            #[derive(Debug, RpcError, JsonSchema)]
            pub(super) enum Refused { #[rpc(code = 1)] Closed }

            impl std::fmt::Display for Refused {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("closed") }
            }

            #[rpc(openrpc)]
            pub(super) trait Desk { async fn open(&self, key: u32) -> Result<u32, Refused>; }
        } { async fn open(&self, _: u32) -> Result<u32, Refused> { Err(Refused::Closed) } }
        new {
            #[derive(Debug, RpcError, JsonSchema)]
            pub(super) enum Refused { #[rpc(code = 1)] Closed, #[rpc(code = 2)] Full }

            impl std::fmt::Display for Refused {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str(match self { Self::Closed => "closed", Self::Full => "full" })
                }
            }

            #[rpc(openrpc)]
            pub(super) trait Desk { async fn open(&self, key: u32) -> Result<u32, Refused>; }
        } {
            async fn open(&self, key: u32) -> Result<u32, Refused> {
                Err(if key == 0 { Refused::Closed } else { Refused::Full })
            }
        }
    }

    #[tokio::test]
    async fn added_error_is_remote_for_old_callers() {
        let old_caller = old::DeskClient::new(new::server());
        let closed = old_caller.open(0).await;
        assert!(matches!(
            closed,
            Err(CallError::Application(old::Refused::Closed))
        ));
        assert_eq!(code_of(old_caller.open(1).await), 2);
        let closed = new::DeskClient::new(old::server()).open(1).await;
        assert!(matches!(
            closed,
            Err(CallError::Application(new::Refused::Closed))
        ));
        assert_eq!(
            checked::<old::DeskClient, new::DeskClient>("error"),
            COMPATIBLE
        );
    }
}

mod changed_code {
    use super::*;

    versions! {
        old {
            #[derive(Debug, RpcError, JsonSchema)]
            pub(super) enum Refused { #[rpc(code = 1)] Closed }

            impl std::fmt::Display for Refused {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("closed") }
            }

            #[rpc(openrpc)]
            pub(super) trait Desk { async fn open(&self) -> Result<u32, Refused>; }
        } { async fn open(&self) -> Result<u32, Refused> { Err(Refused::Closed) } }
        new {
            #[derive(Debug, RpcError, JsonSchema)]
            pub(super) enum Refused { #[rpc(code = 2)] Closed }

            impl std::fmt::Display for Refused {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("closed") }
            }

            #[rpc(openrpc)]
            pub(super) trait Desk { async fn open(&self) -> Result<u32, Refused>; }
        } { async fn open(&self) -> Result<u32, Refused> { Err(Refused::Closed) } }
    }

    #[tokio::test]
    async fn changed_code_of_an_error_is_remote_for_the_other_side() {
        assert_eq!(code_of(old::DeskClient::new(new::server()).open().await), 2);
        assert_eq!(code_of(new::DeskClient::new(old::server()).open().await), 1);
        let found = checked::<old::DeskClient, new::DeskClient>("code");
        assert!(found.contains(&"breaking".to_owned()), "{found:?}");
    }
}

mod streamed_result {
    use futures_util::{Stream, StreamExt, stream};

    use super::*;

    versions! {
        old {
            #[rpc(openrpc)]
            pub(super) trait Desk { async fn count(&self) -> u32; }
        } { async fn count(&self) -> u32 { 1 } }
        new {
            #[rpc(openrpc)]
            pub(super) trait Desk { fn count(&self) -> impl Stream<Item = u32>; }
        } { fn count(&self) -> impl Stream<Item = u32> { stream::iter([1, 2]) } }
    }

    #[tokio::test]
    async fn single_result_and_stream_of_items_are_unreadable_for_the_other_side() {
        let items = old::DeskClient::new(new::server()).count().await;
        assert!(matches!(items, Err(CallError::Decode(_))), "{items:?}");
        let mut items = new::DeskClient::new(old::server()).count();
        let single = items.next().await.unwrap();
        assert!(matches!(single, Err(CallError::Decode(_))), "{single:?}");
        assert!(items.next().await.is_none());
        for found in [
            checked::<old::DeskClient, new::DeskClient>("stream"),
            checked::<new::DeskClient, old::DeskClient>("no-stream"),
        ] {
            assert_eq!(found, BREAKING);
        }
    }
}

/// The page names tests of this file only, and all of them.
#[test]
fn page_names_every_test() {
    let page = include_str!("../../../docs/evolution.md");
    let here = include_str!("evolution.rs");
    let tests: Vec<_> = here
        .split("async fn ")
        .skip(1)
        .filter_map(|behind| behind.split_once("() {"))
        .map(|(name, _)| name)
        .filter(|name| !name.contains(['(', '"']))
        .collect();
    assert!(tests.len() > 10);
    for name in &tests {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    let named = page.split('`').filter(|word| word.matches('_').count() > 3);
    for name in named {
        assert!(tests.contains(&name), "{name}");
    }
}
