#[diagnostic::on_unimplemented(
    note = "`ShopServer::new` takes a type that implements `Shop`; to share it, pass an `Arc` of it to `ShopServer::from_arc`"
)]
/// Sells.
trait Shop<
    T: Send + Sync + 'static,
>: ::rpc_runtime::codegen::Send + ::rpc_runtime::codegen::Sync + 'static {
    /// Looks up a price.
    fn price(
        &self,
        what: &str,
        count: u32,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = Result<T, DivideError>,
    > + ::rpc_runtime::codegen::Send;
    fn offers(
        &self,
        wishes: impl Stream<
            Item = String,
        > + ::rpc_runtime::codegen::Send + ::rpc_runtime::codegen::Unpin,
    ) -> impl Stream<Item = T> + ::rpc_runtime::codegen::Send;
}
/// Serves an implementation of [`Shop`].
struct ShopServer<__Service, T> {
    service: ::rpc_runtime::codegen::Arc<__Service>,
    types: ::rpc_runtime::codegen::PhantomData<fn() -> (T,)>,
}
/// Calls an implementation of [`Shop`].
struct ShopClient<T> {
    client: ::rpc_runtime::codegen::Client,
    types: ::rpc_runtime::codegen::PhantomData<fn() -> (T,)>,
}
const _: () = {
    use ::rpc_runtime::codegen as __rpc;
    impl<__Service, T> ShopServer<__Service, T> {
        /// Wraps `service`.
        fn new(service: __Service) -> Self {
            Self {
                service: __rpc::Arc::new(service),
                types: __rpc::PhantomData,
            }
        }
        /// Wraps a shared `service`.
        fn from_arc(service: __rpc::Arc<__Service>) -> Self {
            Self {
                service,
                types: __rpc::PhantomData,
            }
        }
    }
    impl<__Service, T> __rpc::Clone for ShopServer<__Service, T> {
        fn clone(&self) -> Self {
            Self {
                service: __rpc::Clone::clone(&self.service),
                types: __rpc::PhantomData,
            }
        }
    }
    impl<__Service, T> __rpc::Debug for ShopServer<__Service, T> {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("ShopServer").finish_non_exhaustive()
        }
    }
    impl<__Service, T: Send + Sync + 'static> ShopServer<__Service, T>
    where
        __Service: Shop<T>,
        for<'__out> T: __rpc::Returned<T>,
        for<'__any> T: __rpc::HasSchema,
    {
        async fn __call_price(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (what, count) = call
                .arguments((
                    __rpc::arg::<&str>("what"),
                    __rpc::arg::<u32>("count")
                        .or(|| <ShopClient<T>>::__default_price_1()),
                ))?;
            reply
                .result(
                    <__Service as Shop<T>>::price(&self.service, what, count).await,
                    __rpc::returns_result::<T, T, DivideError>(),
                )
        }
        async fn __call_offers(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            call.arguments(())?;
            let wishes = call.items(__rpc::upload::<String>())?;
            call.require_stream()?
                .send(
                    <__Service as Shop<T>>::offers(&self.service, wishes),
                    reply,
                    __rpc::returns::<T, T>(),
                )
                .await
        }
    }
    impl<__Service, T> __rpc::From<__rpc::Arc<__Service>> for ShopServer<__Service, T> {
        fn from(service: __rpc::Arc<__Service>) -> Self {
            Self::from_arc(service)
        }
    }
    impl<__Service, T: Send + Sync + 'static> __rpc::InUse<ShopServer<__Service, T>>
    for ()
    where
        __Service: Shop<T>,
        for<'__out> T: __rpc::Returned<T>,
        for<'__any> T: __rpc::HasSchema,
    {}
    impl<__Service, T: Send + Sync + 'static> __rpc::Service for ShopServer<__Service, T>
    where
        __Service: Shop<T>,
        for<'__out> T: __rpc::Returned<T>,
        for<'__any> T: __rpc::HasSchema,
    {
        const DESCRIPTION: &'static __rpc::ServiceDescription = <ShopClient<
            T,
        > as __rpc::Described>::DESCRIPTION;
        const METHODS: __rpc::u32 = 2;
        fn find(name: &__rpc::str) -> __rpc::Option<__rpc::u32> {
            match name {
                "price" => __rpc::Some(0),
                "offers" => __rpc::Some(1),
                _ => __rpc::None,
            }
        }
        fn methods<'__c>() -> impl __rpc::Methods<'__c, Self, Slot: __rpc::Send> {
            (Self::__call_price, Self::__call_offers)
        }
    }
    impl<T> ShopClient<T> {
        /// Wraps `client`.
        fn new(client: __rpc::Client) -> Self {
            Self {
                client,
                types: __rpc::PhantomData,
            }
        }
    }
    impl<T> __rpc::Clone for ShopClient<T> {
        fn clone(&self) -> Self {
            Self {
                client: __rpc::Clone::clone(&self.client),
                types: __rpc::PhantomData,
            }
        }
    }
    impl<T> __rpc::Debug for ShopClient<T> {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("ShopClient").finish_non_exhaustive()
        }
    }
    impl<T> __rpc::From<__rpc::Client> for ShopClient<T> {
        fn from(client: __rpc::Client) -> Self {
            Self::new(client)
        }
    }
    impl<T> __rpc::AsRef<__rpc::Client> for ShopClient<T> {
        fn as_ref(&self) -> &__rpc::Client {
            &self.client
        }
    }
    impl<T: Send + Sync> __rpc::Described for ShopClient<T>
    where
        for<'__out> T: __rpc::Returned<T>,
        for<'__any> T: __rpc::HasSchema,
    {
        const DESCRIPTION: &'static __rpc::ServiceDescription = &__rpc::ServiceDescription {
            name: "Shop",
            docs: "Sells.",
            version: __rpc::option_env!("CARGO_PKG_VERSION"),
            methods: &[
                __rpc::MethodDescription::new("price", "Looks up a price.", "T")
                    .parameters(
                        &[
                            __rpc::ParameterDescription::new("what", "&str")
                                .schema(__rpc::schema::<&str>()),
                            __rpc::ParameterDescription::new("count", "u32")
                                .default(|| __rpc::written(
                                    __rpc::arg::<u32>("count"),
                                    Self::__default_price_1(),
                                ))
                                .schema(__rpc::schema::<u32>()),
                        ],
                    )
                    .errors(__rpc::returns_result::<T, T, DivideError>().errors())
                    .examples(
                        &[__rpc::Example::new("tea", "{\"what\":\"tea\"}").result("3")],
                    )
                    .result_schema(__rpc::schema::<T>())
                    .error_schemas(__rpc::error_schemas::<DivideError>()),
                __rpc::MethodDescription::new("offers", "", "T")
                    .upload("String")
                    .stream()
                    .result_schema(__rpc::schema::<T>())
                    .upload_schema(__rpc::schema::<String>()),
            ],
        };
    }
    impl<T: Send + Sync> ShopClient<T>
    where
        for<'__out> T: __rpc::Returned<T>,
        for<'__any> T: __rpc::HasSchema,
    {
        /// Looks up a price.
        fn price(&self, what: &str, count: u32) -> __rpc::Call<T, DivideError> {
            static __METHOD: __rpc::Method = __rpc::Method::new("price");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (
                        __rpc::arg::<&str>("what").send(&what),
                        __rpc::arg::<u32>("count").send_always(&count),
                    ),
                    __rpc::returns_result::<T, T, DivideError>(),
                )
        }
        fn offers(
            &self,
            wishes: impl __rpc::Stream<Item = String> + __rpc::Send + 'static,
        ) -> __rpc::Streaming<T> {
            static __METHOD: __rpc::Method = __rpc::Method::new("offers");
            self.client
                .invoke_items(
                    __METHOD.of::<Self>(),
                    __rpc::NoParams,
                    __rpc::returns::<T, T>(),
                )
                .with_items(wishes, __rpc::upload::<String>())
        }
        fn __default_price_1() -> u32 {
            1
        }
    }
};
