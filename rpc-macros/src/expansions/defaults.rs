#[diagnostic::on_unimplemented(
    note = "`DefaultsServer::new` takes a type that implements `Defaults`; to share it, pass an `Arc` of it to `DefaultsServer::from_arc`"
)]
trait Defaults: ::rpc_runtime::codegen::Send + ::rpc_runtime::codegen::Sync + 'static {
    /// Has a body.
    #[cfg(all())]
    #[deprecated = "for a test"]
    fn r#type(
        &self,
        r#in: u32,
        mut out: u32,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = u32,
    > + ::rpc_runtime::codegen::Send {
        async move {
            out += r#in;
            out
        }
    }
    #[cfg(any())]
    fn absent(
        &self,
        what: Missing,
    ) -> impl ::rpc_runtime::codegen::Future<Output = ()> + ::rpc_runtime::codegen::Send;
}
/// Serves an implementation of [`Defaults`].
struct DefaultsServer<__Service> {
    service: ::rpc_runtime::codegen::Arc<__Service>,
}
/// Calls an implementation of [`Defaults`].
struct DefaultsClient {
    client: ::rpc_runtime::codegen::Client,
}
const _: () = {
    use ::rpc_runtime::codegen as __rpc;
    impl<__Service> DefaultsServer<__Service> {
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
    impl<__Service> __rpc::Clone for DefaultsServer<__Service> {
        fn clone(&self) -> Self {
            Self {
                service: __rpc::Clone::clone(&self.service),
            }
        }
    }
    impl<__Service> __rpc::Debug for DefaultsServer<__Service> {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("DefaultsServer").finish_non_exhaustive()
        }
    }
    #[allow(deprecated)]
    impl<__Service> DefaultsServer<__Service>
    where
        __Service: Defaults,
    {
        #[cfg(all())]
        async fn __call_type(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (r#in, out) = call
                .arguments((
                    __rpc::arg::<u32>("in"),
                    __rpc::arg::<u32>("out").or(|| <DefaultsClient>::__default_type_1()),
                ))?;
            reply
                .value(
                    &<__Service as Defaults>::r#type(&self.service, r#in, out).await,
                    __rpc::returns::<u32, u32>(),
                )
        }
        #[cfg(any())]
        async fn __call_absent(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (what,) = call.arguments((__rpc::arg::<Missing>("what"),))?;
            reply
                .value(
                    &<__Service as Defaults>::absent(&self.service, what).await,
                    __rpc::returns::<(), ()>(),
                )
        }
    }
    impl<__Service> __rpc::From<__rpc::Arc<__Service>> for DefaultsServer<__Service> {
        fn from(service: __rpc::Arc<__Service>) -> Self {
            Self::from_arc(service)
        }
    }
    impl<__Service> __rpc::InUse<DefaultsServer<__Service>> for ()
    where
        __Service: Defaults,
    {}
    impl<__Service> __rpc::Service for DefaultsServer<__Service>
    where
        __Service: Defaults,
    {
        const DESCRIPTION: &'static __rpc::ServiceDescription = <DefaultsClient as __rpc::Described>::DESCRIPTION;
        const METHODS: __rpc::u32 = 2;
        fn find(name: &__rpc::str) -> __rpc::Option<__rpc::u32> {
            match name {
                #[cfg(all())]
                "type" | "kind" | "sort" => __rpc::Some(0),
                #[cfg(any())]
                "absent" => __rpc::Some(1),
                _ => __rpc::None,
            }
        }
        fn methods<'__c>() -> impl __rpc::Methods<'__c, Self, Slot: __rpc::Send> {
            (
                {
                    let _start = __rpc::absent::<Self>;
                    #[cfg(all())]
                    let _start = Self::__call_type;
                    _start
                },
                {
                    let _start = __rpc::absent::<Self>;
                    #[cfg(any())]
                    let _start = Self::__call_absent;
                    _start
                },
            )
        }
    }
    impl DefaultsClient {
        /// Wraps `client`.
        fn new(client: __rpc::Client) -> Self {
            Self { client }
        }
    }
    impl __rpc::Clone for DefaultsClient {
        fn clone(&self) -> Self {
            Self {
                client: __rpc::Clone::clone(&self.client),
            }
        }
    }
    impl __rpc::Debug for DefaultsClient {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("DefaultsClient").finish_non_exhaustive()
        }
    }
    impl __rpc::From<__rpc::Client> for DefaultsClient {
        fn from(client: __rpc::Client) -> Self {
            Self::new(client)
        }
    }
    impl __rpc::AsRef<__rpc::Client> for DefaultsClient {
        fn as_ref(&self) -> &__rpc::Client {
            &self.client
        }
    }
    #[allow(deprecated)]
    impl __rpc::Described for DefaultsClient {
        const DESCRIPTION: &'static __rpc::ServiceDescription = &__rpc::ServiceDescription {
            name: "Defaults",
            docs: "",
            version: __rpc::option_env!("CARGO_PKG_VERSION"),
            methods: &[
                #[cfg(all())]
                __rpc::MethodDescription::new(
                        "type",
                        "Has a body.\n\nDeprecated: for a test",
                        "u32",
                    )
                    .aliases(&["kind", "sort"])
                    .parameters(
                        &[
                            __rpc::ParameterDescription::new("in", "u32"),
                            __rpc::ParameterDescription::new("out", "u32")
                                .default(|| __rpc::written(
                                    __rpc::arg::<u32>("out"),
                                    Self::__default_type_1(),
                                )),
                        ],
                    )
                    .deprecated(true),
                #[cfg(any())]
                __rpc::MethodDescription::new("absent", "", "()")
                    .parameters(&[__rpc::ParameterDescription::new("what", "Missing")]),
            ],
        };
    }
    impl DefaultsClient {
        /// Has a body.
        #[cfg(all())]
        #[deprecated = "for a test"]
        fn r#type(&self, r#in: u32, out: u32) -> __rpc::Call<u32> {
            static __METHOD: __rpc::Method = __rpc::Method::new("type");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (
                        __rpc::arg::<u32>("in").send(&r#in),
                        __rpc::arg::<u32>("out").send_always(&out),
                    ),
                    __rpc::returns::<u32, u32>(),
                )
        }
        #[cfg(any())]
        fn absent(&self, what: Missing) -> __rpc::Call<()> {
            static __METHOD: __rpc::Method = __rpc::Method::new("absent");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (__rpc::arg::<Missing>("what").send(&what),),
                    __rpc::returns::<(), ()>(),
                )
        }
        #[cfg(all())]
        fn __default_type_1() -> u32 {
            __rpc::default::<u32>()
        }
    }
};
