pub(crate) trait Store<
    K: 'static,
    V: Clone + 'static,
    const N: usize,
>: Debug + rpc::codegen::Send + rpc::codegen::Sync + 'static
where
    K: Ord,
{
    fn get(
        &self,
        key: K,
    ) -> impl rpc::codegen::Future<Output = Option<&V>> + rpc::codegen::Send;
    fn put(
        &self,
        keys: [K; N],
        value: V,
    ) -> impl rpc::codegen::Future<Output = Result<V>> + rpc::codegen::Send;
}
/// Serves an implementation of [`Store`].
pub(crate) struct StoreServer<__Service, K, V, const N: usize> {
    service: rpc::codegen::Arc<__Service>,
    types: rpc::codegen::PhantomData<fn() -> (K, V)>,
}
/// Calls an implementation of [`Store`].
pub(crate) struct StoreClient<K, V, const N: usize> {
    client: rpc::codegen::Client,
    types: rpc::codegen::PhantomData<fn() -> (K, V)>,
}
const _: () = {
    use rpc::codegen as __rpc;
    impl<__Service, K, V, const N: usize> StoreServer<__Service, K, V, N> {
        /// Wraps `service`.
        pub(crate) fn new(service: __Service) -> Self {
            Self {
                service: __rpc::Arc::new(service),
                types: __rpc::PhantomData,
            }
        }
        /// Wraps a shared `service`.
        pub(crate) fn from_arc(service: __rpc::Arc<__Service>) -> Self {
            Self {
                service,
                types: __rpc::PhantomData,
            }
        }
    }
    impl<__Service, K, V, const N: usize> __rpc::Clone
    for StoreServer<__Service, K, V, N> {
        fn clone(&self) -> Self {
            Self {
                service: __rpc::Clone::clone(&self.service),
                types: __rpc::PhantomData,
            }
        }
    }
    impl<__Service, K, V, const N: usize> __rpc::Debug
    for StoreServer<__Service, K, V, N> {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("StoreServer").finish_non_exhaustive()
        }
    }
    impl<
        __Service,
        K: 'static,
        V: Clone + 'static,
        const N: usize,
    > StoreServer<__Service, K, V, N>
    where
        K: Ord,
        __Service: Store<K, V, N>,
        for<'__de> K: __rpc::Argument<'__de>,
        for<'__de> [K; N]: __rpc::Argument<'__de>,
        for<'__de> V: __rpc::Argument<'__de>,
        for<'__out> Option<&'__out V>: __rpc::Returned<Option<V>>,
        <Result<
            V,
        > as __rpc::Fallible>::Ok: __rpc::Returned<<Result<V> as __rpc::Fallible>::Ok>,
        <Result<V> as __rpc::Fallible>::Err: __rpc::RpcError,
    {
        async fn __call_get(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (key,) = call.lenient_arguments((__rpc::arg::<K>("key"),))?;
            reply
                .value(
                    &<__Service as Store<K, V, N>>::get(&self.service, key).await,
                    __rpc::returns::<Option<&V>, Option<V>>(),
                )
        }
        async fn __call_put(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (keys, value) = call
                .lenient_arguments((
                    __rpc::arg::<[K; N]>("keys"),
                    __rpc::arg::<V>("value"),
                ))?;
            reply
                .result(
                    <Result<
                        V,
                    > as __rpc::Fallible>::into_result(
                        <__Service as Store<K, V, N>>::put(&self.service, keys, value)
                            .await,
                    ),
                    __rpc::returns_result::<
                        <Result<V> as __rpc::Fallible>::Ok,
                        <Result<V> as __rpc::Fallible>::Ok,
                        <Result<V> as __rpc::Fallible>::Err,
                    >(),
                )
        }
    }
    impl<__Service, K, V, const N: usize> __rpc::From<__rpc::Arc<__Service>>
    for StoreServer<__Service, K, V, N> {
        fn from(service: __rpc::Arc<__Service>) -> Self {
            Self::from_arc(service)
        }
    }
    impl<
        __Service,
        K: 'static,
        V: Clone + 'static,
        const N: usize,
    > __rpc::InUse<StoreServer<__Service, K, V, N>> for ()
    where
        K: Ord,
        __Service: Store<K, V, N>,
        for<'__de> K: __rpc::Argument<'__de>,
        for<'__de> [K; N]: __rpc::Argument<'__de>,
        for<'__de> V: __rpc::Argument<'__de>,
        for<'__out> Option<&'__out V>: __rpc::Returned<Option<V>>,
        <Result<
            V,
        > as __rpc::Fallible>::Ok: __rpc::Returned<<Result<V> as __rpc::Fallible>::Ok>,
        <Result<V> as __rpc::Fallible>::Err: __rpc::RpcError,
    {}
    impl<__Service, K: 'static, V: Clone + 'static, const N: usize> __rpc::Service
    for StoreServer<__Service, K, V, N>
    where
        K: Ord,
        __Service: Store<K, V, N>,
        for<'__de> K: __rpc::Argument<'__de>,
        for<'__de> [K; N]: __rpc::Argument<'__de>,
        for<'__de> V: __rpc::Argument<'__de>,
        for<'__out> Option<&'__out V>: __rpc::Returned<Option<V>>,
        <Result<
            V,
        > as __rpc::Fallible>::Ok: __rpc::Returned<<Result<V> as __rpc::Fallible>::Ok>,
        <Result<V> as __rpc::Fallible>::Err: __rpc::RpcError,
    {
        const DESCRIPTION: &'static __rpc::ServiceDescription = <StoreClient<
            K,
            V,
            N,
        > as __rpc::Described>::DESCRIPTION;
        const METHODS: __rpc::u32 = 2;
        fn find(name: &__rpc::str) -> __rpc::Option<__rpc::u32> {
            match name {
                "get" => __rpc::Some(0),
                "put" => __rpc::Some(1),
                _ => __rpc::None,
            }
        }
        fn methods<'__c>() -> impl __rpc::Methods<'__c, Self, Slot: __rpc::Send> {
            (Self::__call_get, Self::__call_put)
        }
    }
    impl<K, V, const N: usize> StoreClient<K, V, N> {
        /// Wraps `client`.
        pub(crate) fn new(client: __rpc::Client) -> Self {
            Self {
                client,
                types: __rpc::PhantomData,
            }
        }
    }
    impl<K, V, const N: usize> __rpc::Clone for StoreClient<K, V, N> {
        fn clone(&self) -> Self {
            Self {
                client: __rpc::Clone::clone(&self.client),
                types: __rpc::PhantomData,
            }
        }
    }
    impl<K, V, const N: usize> __rpc::Debug for StoreClient<K, V, N> {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("StoreClient").finish_non_exhaustive()
        }
    }
    impl<K, V, const N: usize> __rpc::From<__rpc::Client> for StoreClient<K, V, N> {
        fn from(client: __rpc::Client) -> Self {
            Self::new(client)
        }
    }
    impl<K, V, const N: usize> __rpc::AsRef<__rpc::Client> for StoreClient<K, V, N> {
        fn as_ref(&self) -> &__rpc::Client {
            &self.client
        }
    }
    impl<K, V: Clone, const N: usize> __rpc::Described for StoreClient<K, V, N>
    where
        K: Ord,
        for<'__de> K: __rpc::Argument<'__de>,
        for<'__de> [K; N]: __rpc::Argument<'__de>,
        for<'__de> V: __rpc::Argument<'__de>,
        for<'__out> Option<&'__out V>: __rpc::Returned<Option<V>>,
        <Result<
            V,
        > as __rpc::Fallible>::Ok: __rpc::Returned<<Result<V> as __rpc::Fallible>::Ok>,
        <Result<V> as __rpc::Fallible>::Err: __rpc::RpcError,
    {
        const DESCRIPTION: &'static __rpc::ServiceDescription = &__rpc::ServiceDescription {
            name: "Store",
            docs: "",
            version: __rpc::option_env!("CARGO_PKG_VERSION"),
            methods: &[
                __rpc::MethodDescription::new("get", "", "Option<&V>")
                    .parameters(&[__rpc::ParameterDescription::new("key", "K")]),
                __rpc::MethodDescription::new("put", "", "Result<V>")
                    .parameters(
                        &[
                            __rpc::ParameterDescription::new("keys", "[K; N]"),
                            __rpc::ParameterDescription::new("value", "V"),
                        ],
                    )
                    .errors(
                        __rpc::returns_result::<
                            <Result<V> as __rpc::Fallible>::Ok,
                            <Result<V> as __rpc::Fallible>::Ok,
                            <Result<V> as __rpc::Fallible>::Err,
                        >()
                            .errors(),
                    ),
            ],
        };
    }
    impl<K, V: Clone, const N: usize> StoreClient<K, V, N>
    where
        K: Ord,
        for<'__de> K: __rpc::Argument<'__de>,
        for<'__de> [K; N]: __rpc::Argument<'__de>,
        for<'__de> V: __rpc::Argument<'__de>,
        for<'__out> Option<&'__out V>: __rpc::Returned<Option<V>>,
        <Result<
            V,
        > as __rpc::Fallible>::Ok: __rpc::Returned<<Result<V> as __rpc::Fallible>::Ok>,
        <Result<V> as __rpc::Fallible>::Err: __rpc::RpcError,
    {
        pub(crate) fn get(&self, key: K) -> __rpc::Call<Option<V>> {
            static __METHOD: __rpc::Method = __rpc::Method::new("get");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (__rpc::arg::<K>("key").send(&key),),
                    __rpc::returns::<Option<&V>, Option<V>>(),
                )
        }
        pub(crate) fn put(
            &self,
            keys: [K; N],
            value: V,
        ) -> __rpc::Call<
            <Result<V> as __rpc::Fallible>::Ok,
            <Result<V> as __rpc::Fallible>::Err,
        > {
            static __METHOD: __rpc::Method = __rpc::Method::new("put");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (
                        __rpc::arg::<[K; N]>("keys").send(&keys),
                        __rpc::arg::<V>("value").send(&value),
                    ),
                    __rpc::returns_result::<
                        <Result<V> as __rpc::Fallible>::Ok,
                        <Result<V> as __rpc::Fallible>::Ok,
                        <Result<V> as __rpc::Fallible>::Err,
                    >(),
                )
        }
    }
};
