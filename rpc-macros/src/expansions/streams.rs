#[diagnostic::on_unimplemented(
    note = "`FeedServer::new` takes a type that implements `Feed`; to share it, pass an `Arc` of it to `FeedServer::from_arc`"
)]
pub(crate) trait Feed: ::rpc_runtime::codegen::Send + ::rpc_runtime::codegen::Sync + 'static {
    /// Down.
    fn ticks(
        &self,
        symbol: &str,
    ) -> impl Stream<Item = Tick<'_>> + ::rpc_runtime::codegen::Send;
    fn fallible(
        &self,
    ) -> impl futures_util::Stream<
        Item = Result<u64, FeedError>,
    > + ::rpc_runtime::codegen::Send;
    /// Up.
    fn sum(
        &self,
        cx: &Context,
        start: u64,
        values: impl Stream<
            Item = u64,
        > + ::rpc_runtime::codegen::Send + ::rpc_runtime::codegen::Unpin,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = u64,
    > + ::rpc_runtime::codegen::Send;
    /// Both.
    fn echo(
        &self,
        items: impl Stream<
            Item = String,
        > + ::rpc_runtime::codegen::Send + ::rpc_runtime::codegen::Unpin,
    ) -> impl Stream<Item = String> + ::rpc_runtime::codegen::Send;
}
/// Serves an implementation of [`Feed`].
pub(crate) struct FeedServer<__Service> {
    service: ::rpc_runtime::codegen::Arc<__Service>,
}
/// Calls an implementation of [`Feed`].
pub(crate) struct FeedClient {
    client: ::rpc_runtime::codegen::Client,
}
const _: () = {
    use ::rpc_runtime::codegen as __rpc;
    impl<__Service> FeedServer<__Service> {
        /// Wraps `service`.
        pub(crate) fn new(service: __Service) -> Self {
            Self {
                service: __rpc::Arc::new(service),
            }
        }
        /// Wraps a shared `service`.
        pub(crate) fn from_arc(service: __rpc::Arc<__Service>) -> Self {
            Self { service }
        }
    }
    impl<__Service> __rpc::Clone for FeedServer<__Service> {
        fn clone(&self) -> Self {
            Self {
                service: __rpc::Clone::clone(&self.service),
            }
        }
    }
    impl<__Service> __rpc::Debug for FeedServer<__Service> {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("FeedServer").finish_non_exhaustive()
        }
    }
    impl<__Service> FeedServer<__Service>
    where
        __Service: Feed,
    {
        async fn __call_ticks(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (symbol,) = call.arguments((__rpc::arg::<&str>("symbol"),))?;
            call.require_stream()?
                .send(
                    <__Service as Feed>::ticks(&self.service, symbol),
                    reply,
                    __rpc::returns::<Tick<'_>, Tick<'static>>(),
                )
                .await
        }
        async fn __call_fallible(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            call.arguments(())?;
            call.require_stream()?
                .send_results(
                    <__Service as Feed>::fallible(&self.service),
                    reply,
                    __rpc::returns_result::<u64, u64, FeedError>(),
                )
                .await
        }
        async fn __call_sum(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let cx = __rpc::context::<Context>(call);
            let (start,) = call.arguments((__rpc::arg::<u64>("start"),))?;
            let values = call.items(__rpc::upload::<u64>())?;
            reply
                .value(
                    &<__Service as Feed>::sum(&self.service, cx, start, values).await,
                    __rpc::returns::<u64, u64>(),
                )
        }
        async fn __call_echo(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            call.arguments(())?;
            let items = call.items(__rpc::upload::<String>())?;
            call.require_stream()?
                .send(
                    <__Service as Feed>::echo(&self.service, items),
                    reply,
                    __rpc::returns::<String, String>(),
                )
                .await
        }
    }
    impl<__Service> __rpc::From<__rpc::Arc<__Service>> for FeedServer<__Service> {
        fn from(service: __rpc::Arc<__Service>) -> Self {
            Self::from_arc(service)
        }
    }
    impl<__Service> __rpc::InUse<FeedServer<__Service>> for ()
    where
        __Service: Feed,
    {}
    impl<__Service> __rpc::Service for FeedServer<__Service>
    where
        __Service: Feed,
    {
        const DESCRIPTION: &'static __rpc::ServiceDescription = <FeedClient as __rpc::Described>::DESCRIPTION;
        const METHODS: __rpc::u32 = 4;
        fn find(name: &__rpc::str) -> __rpc::Option<__rpc::u32> {
            match name {
                "ticks" => __rpc::Some(0),
                "fallible" => __rpc::Some(1),
                "sum" => __rpc::Some(2),
                "echo" => __rpc::Some(3),
                _ => __rpc::None,
            }
        }
        fn methods<'__c>() -> impl __rpc::Methods<'__c, Self, Slot: __rpc::Send> {
            (
                Self::__call_ticks,
                Self::__call_fallible,
                Self::__call_sum,
                Self::__call_echo,
            )
        }
    }
    impl FeedClient {
        /// Wraps `client`.
        pub(crate) fn new(client: __rpc::Client) -> Self {
            Self { client }
        }
    }
    impl __rpc::Clone for FeedClient {
        fn clone(&self) -> Self {
            Self {
                client: __rpc::Clone::clone(&self.client),
            }
        }
    }
    impl __rpc::Debug for FeedClient {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("FeedClient").finish_non_exhaustive()
        }
    }
    impl __rpc::From<__rpc::Client> for FeedClient {
        fn from(client: __rpc::Client) -> Self {
            Self::new(client)
        }
    }
    impl __rpc::AsRef<__rpc::Client> for FeedClient {
        fn as_ref(&self) -> &__rpc::Client {
            &self.client
        }
    }
    impl __rpc::Described for FeedClient {
        const DESCRIPTION: &'static __rpc::ServiceDescription = &__rpc::ServiceDescription {
            name: "Feed",
            docs: "",
            version: __rpc::option_env!("CARGO_PKG_VERSION"),
            methods: &[
                __rpc::MethodDescription::new("ticks", "Down.", "Tick<'_>")
                    .parameters(&[__rpc::ParameterDescription::new("symbol", "&str")])
                    .stream(),
                __rpc::MethodDescription::new("fallible", "", "u64")
                    .stream()
                    .errors(__rpc::returns_result::<u64, u64, FeedError>().errors()),
                __rpc::MethodDescription::new("sum", "Up.", "u64")
                    .parameters(&[__rpc::ParameterDescription::new("start", "u64")])
                    .upload("u64"),
                __rpc::MethodDescription::new("echo", "Both.", "String")
                    .upload("String")
                    .stream(),
            ],
        };
    }
    impl FeedClient {
        /// Down.
        pub(crate) fn ticks(&self, symbol: &str) -> __rpc::Streaming<Tick<'static>> {
            static __METHOD: __rpc::Method = __rpc::Method::new("ticks");
            self.client
                .invoke_items(
                    __METHOD.of::<Self>(),
                    (__rpc::arg::<&str>("symbol").send(&symbol),),
                    __rpc::returns::<Tick<'_>, Tick<'static>>(),
                )
        }
        pub(crate) fn fallible(&self) -> __rpc::Streaming<u64, FeedError> {
            static __METHOD: __rpc::Method = __rpc::Method::new("fallible");
            self.client
                .invoke_items(
                    __METHOD.of::<Self>(),
                    __rpc::NoParams,
                    __rpc::returns_result::<u64, u64, FeedError>(),
                )
        }
        /// Up.
        pub(crate) fn sum(
            &self,
            start: u64,
            values: impl __rpc::Stream<Item = u64> + __rpc::Send + 'static,
        ) -> __rpc::Call<u64> {
            static __METHOD: __rpc::Method = __rpc::Method::new("sum");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (__rpc::arg::<u64>("start").send(&start),),
                    __rpc::returns::<u64, u64>(),
                )
                .with_items(values, __rpc::upload::<u64>())
        }
        /// Both.
        pub(crate) fn echo(
            &self,
            items: impl __rpc::Stream<Item = String> + __rpc::Send + 'static,
        ) -> __rpc::Streaming<String> {
            static __METHOD: __rpc::Method = __rpc::Method::new("echo");
            self.client
                .invoke_items(
                    __METHOD.of::<Self>(),
                    __rpc::NoParams,
                    __rpc::returns::<String, String>(),
                )
                .with_items(items, __rpc::upload::<String>())
        }
    }
};
