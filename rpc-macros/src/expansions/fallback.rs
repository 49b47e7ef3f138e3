::core::compile_error! {
    "a service has no lifetime parameters; a method may have"
}
::core::compile_error! {
    "a service has methods and nothing else"
}
::core::compile_error! {
    "a method has no type parameters; the trait may have"
}
::core::compile_error! {
    "a parameter is a plain name: callers use it"
}
::core::compile_error! {
    "a method is an `async fn`, `#[rpc(blocking)]`, or returns `impl Stream<Item = T>`"
}
::core::compile_error! {
    "a method takes `&self`: calls run side by side"
}
::core::compile_error! {
    "a method names its types: they go over the wire"
}
::core::compile_error! {
    "the client has its own `new`; call this otherwise and add `#[rpc(name = \"new\")]`"
}
#[diagnostic::on_unimplemented(
    note = "`FaultyServer::new` takes a type that implements `Faulty`; to share it, pass an `Arc` of it to `FaultyServer::from_arc`"
)]
trait Faulty<
    'a,
    K: 'static,
>: ::rpc_runtime::codegen::Send + ::rpc_runtime::codegen::Sync + 'static {
    type Tea;
    fn generic<T>(
        &self,
        _: (K, &'a T),
    ) -> impl ::rpc_runtime::codegen::Future<Output = T> + ::rpc_runtime::codegen::Send;
    fn new(self) -> impl Send;
}
/// Serves an implementation of [`Faulty`].
struct FaultyServer<__Service, K> {
    service: ::rpc_runtime::codegen::Arc<__Service>,
    types: ::rpc_runtime::codegen::PhantomData<fn() -> (K,)>,
}
/// Calls an implementation of [`Faulty`].
struct FaultyClient<K> {
    client: ::rpc_runtime::codegen::Client,
    types: ::rpc_runtime::codegen::PhantomData<fn() -> (K,)>,
}
const _: () = {
    use ::rpc_runtime::codegen as __rpc;
    impl<__Service, K> FaultyServer<__Service, K> {
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
    impl<__Service, K> __rpc::Clone for FaultyServer<__Service, K> {
        fn clone(&self) -> Self {
            Self {
                service: __rpc::Clone::clone(&self.service),
                types: __rpc::PhantomData,
            }
        }
    }
    impl<__Service, K> __rpc::Debug for FaultyServer<__Service, K> {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("FaultyServer").finish_non_exhaustive()
        }
    }
    impl<__Service, K: 'static> FaultyServer<__Service, K>
    where
        __Service: __rpc::Send + __rpc::Sync + 'static,
    {}
    impl<__Service, K> __rpc::From<__rpc::Arc<__Service>>
    for FaultyServer<__Service, K> {
        fn from(service: __rpc::Arc<__Service>) -> Self {
            Self::from_arc(service)
        }
    }
    impl<__Service, K: 'static> __rpc::InUse<FaultyServer<__Service, K>> for ()
    where
        __Service: __rpc::Send + __rpc::Sync + 'static,
    {}
    impl<__Service, K: 'static> __rpc::Service for FaultyServer<__Service, K>
    where
        __Service: __rpc::Send + __rpc::Sync + 'static,
    {
        const DESCRIPTION: &'static __rpc::ServiceDescription = <FaultyClient<
            K,
        > as __rpc::Described>::DESCRIPTION;
        const METHODS: __rpc::u32 = 0;
        fn find(name: &__rpc::str) -> __rpc::Option<__rpc::u32> {
            match name {
                _ => __rpc::None,
            }
        }
        fn methods<'__c>() -> impl __rpc::Methods<'__c, Self, Slot: __rpc::Send> {
            ()
        }
    }
    impl<K> FaultyClient<K> {
        /// Wraps `client`.
        fn new(client: __rpc::Client) -> Self {
            Self {
                client,
                types: __rpc::PhantomData,
            }
        }
    }
    impl<K> __rpc::Clone for FaultyClient<K> {
        fn clone(&self) -> Self {
            Self {
                client: __rpc::Clone::clone(&self.client),
                types: __rpc::PhantomData,
            }
        }
    }
    impl<K> __rpc::Debug for FaultyClient<K> {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("FaultyClient").finish_non_exhaustive()
        }
    }
    impl<K> __rpc::From<__rpc::Client> for FaultyClient<K> {
        fn from(client: __rpc::Client) -> Self {
            Self::new(client)
        }
    }
    impl<K> __rpc::AsRef<__rpc::Client> for FaultyClient<K> {
        fn as_ref(&self) -> &__rpc::Client {
            &self.client
        }
    }
    impl<K> __rpc::Described for FaultyClient<K> {
        const DESCRIPTION: &'static __rpc::ServiceDescription = &__rpc::ServiceDescription {
            name: "Faulty",
            docs: "",
            version: __rpc::option_env!("CARGO_PKG_VERSION"),
            methods: &[],
        };
    }
    impl<K> FaultyClient<K> {
        fn generic(&self, argument0: (K, &T)) -> __rpc::Call<T> {
            let _ = (argument0,);
            loop {}
        }
    }
};
