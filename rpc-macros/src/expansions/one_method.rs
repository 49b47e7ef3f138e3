#[diagnostic::on_unimplemented(
    note = "`EchoServer::new` takes a type that implements `Echo`; to share it, pass an `Arc` of it to `EchoServer::from_arc`"
)]
trait Echo: ::rpc_runtime::codegen::Send + ::rpc_runtime::codegen::Sync + 'static {
    fn echo(
        &self,
        text: &str,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = String,
    > + ::rpc_runtime::codegen::Send;
}
/// Serves an implementation of [`Echo`].
struct EchoServer<__Service> {
    service: ::rpc_runtime::codegen::Arc<__Service>,
}
/// Calls an implementation of [`Echo`].
struct EchoClient {
    client: ::rpc_runtime::codegen::Client,
}
const _: () = {
    use ::rpc_runtime::codegen as __rpc;
    impl<__Service> EchoServer<__Service> {
        /// Wraps `service`.
        fn new(service: __Service) -> Self {
            Self {
                service: __rpc::Arc::new(service),
            }
        }
        /// Wraps a shared `service`.
        fn from_arc(service: __rpc::Arc<__Service>) -> Self {
            Self { service }
        }
    }
    impl<__Service> __rpc::Clone for EchoServer<__Service> {
        fn clone(&self) -> Self {
            Self {
                service: __rpc::Clone::clone(&self.service),
            }
        }
    }
    impl<__Service> __rpc::Debug for EchoServer<__Service> {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("EchoServer").finish_non_exhaustive()
        }
    }
    impl<__Service> EchoServer<__Service>
    where
        __Service: Echo,
    {
        async fn __call_echo(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (text,) = call.arguments((__rpc::arg::<&str>("text"),))?;
            reply
                .value(
                    &<__Service as Echo>::echo(&self.service, text).await,
                    __rpc::returns::<String, String>(),
                )
        }
    }
    impl<__Service> __rpc::From<__rpc::Arc<__Service>> for EchoServer<__Service> {
        fn from(service: __rpc::Arc<__Service>) -> Self {
            Self::from_arc(service)
        }
    }
    impl<__Service> __rpc::InUse<EchoServer<__Service>> for ()
    where
        __Service: Echo,
    {}
    impl<__Service> __rpc::Service for EchoServer<__Service>
    where
        __Service: Echo,
    {
        const DESCRIPTION: &'static __rpc::ServiceDescription = <EchoClient as __rpc::Described>::DESCRIPTION;
        const METHODS: __rpc::u32 = 1;
        fn find(name: &__rpc::str) -> __rpc::Option<__rpc::u32> {
            match name {
                "echo" => __rpc::Some(0),
                _ => __rpc::None,
            }
        }
        fn methods<'__c>() -> impl __rpc::Methods<'__c, Self, Slot: __rpc::Send> {
            (Self::__call_echo,)
        }
    }
    impl EchoClient {
        /// Wraps `client`.
        fn new(client: __rpc::Client) -> Self {
            Self { client }
        }
    }
    impl __rpc::Clone for EchoClient {
        fn clone(&self) -> Self {
            Self {
                client: __rpc::Clone::clone(&self.client),
            }
        }
    }
    impl __rpc::Debug for EchoClient {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("EchoClient").finish_non_exhaustive()
        }
    }
    impl __rpc::From<__rpc::Client> for EchoClient {
        fn from(client: __rpc::Client) -> Self {
            Self::new(client)
        }
    }
    impl __rpc::AsRef<__rpc::Client> for EchoClient {
        fn as_ref(&self) -> &__rpc::Client {
            &self.client
        }
    }
    impl __rpc::Described for EchoClient {
        const DESCRIPTION: &'static __rpc::ServiceDescription = &__rpc::ServiceDescription {
            name: "Echo",
            docs: "",
            version: __rpc::option_env!("CARGO_PKG_VERSION"),
            methods: &[
                __rpc::MethodDescription::new("echo", "", "String")
                    .parameters(&[__rpc::ParameterDescription::new("text", "&str")]),
            ],
        };
    }
    impl EchoClient {
        fn echo(&self, text: &str) -> __rpc::Call<String> {
            static __METHOD: __rpc::Method = __rpc::Method::new("echo");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (__rpc::arg::<&str>("text").send(&text),),
                    __rpc::returns::<String, String>(),
                )
        }
    }
};
