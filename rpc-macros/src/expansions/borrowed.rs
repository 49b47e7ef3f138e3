#[diagnostic::on_unimplemented(
    note = "`TextsServer::new` takes a type that implements `Texts`; to share it, pass an `Arc` of it to `TextsServer::from_arc`"
)]
trait Texts: ::rpc_runtime::codegen::Send + ::rpc_runtime::codegen::Sync + 'static {
    fn pick_one<'a>(
        &self,
        first: &'a str,
        second_best: Option<&str>,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = &'a str,
    > + ::rpc_runtime::codegen::Send;
    fn cow(
        &self,
        text: Cow<'_, str>,
        more: Option<Cow<'_, str>>,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = Cow<'_, str>,
    > + ::rpc_runtime::codegen::Send;
    fn bytes(
        &self,
        bytes: &[u8],
        more: Option<&[u8]>,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = Vec<&str>,
    > + ::rpc_runtime::codegen::Send;
    fn point(
        &self,
        point: Point<'_>,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = Result<Point<'_>, DivideError>,
    > + ::rpc_runtime::codegen::Send;
}
/// Serves an implementation of [`Texts`].
struct TextsServer<__Service> {
    service: ::rpc_runtime::codegen::Arc<__Service>,
}
/// Calls an implementation of [`Texts`].
struct TextsClient {
    client: ::rpc_runtime::codegen::Client,
}
const _: () = {
    use ::rpc_runtime::codegen as __rpc;
    impl<__Service> TextsServer<__Service> {
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
    impl<__Service> __rpc::Clone for TextsServer<__Service> {
        fn clone(&self) -> Self {
            Self {
                service: __rpc::Clone::clone(&self.service),
            }
        }
    }
    impl<__Service> __rpc::Debug for TextsServer<__Service> {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("TextsServer").finish_non_exhaustive()
        }
    }
    impl<__Service> TextsServer<__Service>
    where
        __Service: Texts,
    {
        async fn __call_pick_one(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (first, second_best) = call
                .arguments((
                    __rpc::arg::<&str>("first"),
                    __rpc::arg::<Option<&str>>("secondBest"),
                ))?;
            reply
                .value(
                    &<__Service as Texts>::pick_one(&self.service, first, second_best)
                        .await,
                    __rpc::returns::<&str, __rpc::String>(),
                )
        }
        async fn __call_cow(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (text, more) = call
                .arguments((__rpc::cow("text"), __rpc::optional_cow("more")))?;
            reply
                .value(
                    &<__Service as Texts>::cow(&self.service, text, more).await,
                    __rpc::returns::<Cow<'_, str>, Cow<'static, str>>(),
                )
        }
        async fn __call_bytes(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (bytes, more) = call
                .arguments((__rpc::bytes("bytes"), __rpc::optional_bytes("more")))?;
            reply
                .value(
                    &<__Service as Texts>::bytes(&self.service, bytes, more).await,
                    __rpc::returns::<Vec<&str>, Vec<__rpc::String>>(),
                )
        }
        async fn __call_point(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (point,) = call.arguments((__rpc::arg::<Point<'_>>("point"),))?;
            reply
                .result(
                    <__Service as Texts>::point(&self.service, point).await,
                    __rpc::returns_result::<Point<'_>, Point<'static>, DivideError>(),
                )
        }
    }
    impl<__Service> __rpc::From<__rpc::Arc<__Service>> for TextsServer<__Service> {
        fn from(service: __rpc::Arc<__Service>) -> Self {
            Self::from_arc(service)
        }
    }
    impl<__Service> __rpc::InUse<TextsServer<__Service>> for ()
    where
        __Service: Texts,
    {}
    impl<__Service> __rpc::Service for TextsServer<__Service>
    where
        __Service: Texts,
    {
        const DESCRIPTION: &'static __rpc::ServiceDescription = <TextsClient as __rpc::Described>::DESCRIPTION;
        const METHODS: __rpc::u32 = 4;
        fn find(name: &__rpc::str) -> __rpc::Option<__rpc::u32> {
            match name {
                "pickOne" => __rpc::Some(0),
                "cow" => __rpc::Some(1),
                "bytes" => __rpc::Some(2),
                "point" => __rpc::Some(3),
                _ => __rpc::None,
            }
        }
        fn methods<'__c>() -> impl __rpc::Methods<'__c, Self, Slot: __rpc::Send> {
            (
                Self::__call_pick_one,
                Self::__call_cow,
                Self::__call_bytes,
                Self::__call_point,
            )
        }
    }
    impl TextsClient {
        /// Wraps `client`.
        fn new(client: __rpc::Client) -> Self {
            Self { client }
        }
    }
    impl __rpc::Clone for TextsClient {
        fn clone(&self) -> Self {
            Self {
                client: __rpc::Clone::clone(&self.client),
            }
        }
    }
    impl __rpc::Debug for TextsClient {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("TextsClient").finish_non_exhaustive()
        }
    }
    impl __rpc::From<__rpc::Client> for TextsClient {
        fn from(client: __rpc::Client) -> Self {
            Self::new(client)
        }
    }
    impl __rpc::AsRef<__rpc::Client> for TextsClient {
        fn as_ref(&self) -> &__rpc::Client {
            &self.client
        }
    }
    impl __rpc::Described for TextsClient {
        const DESCRIPTION: &'static __rpc::ServiceDescription = &__rpc::ServiceDescription {
            name: "Texts",
            docs: "",
            version: __rpc::option_env!("CARGO_PKG_VERSION"),
            methods: &[
                __rpc::MethodDescription::new("pickOne", "", "&'a str")
                    .parameters(
                        &[
                            __rpc::ParameterDescription::new("first", "&'a str"),
                            __rpc::ParameterDescription::new(
                                    "secondBest",
                                    "Option<&str>",
                                )
                                .optional(),
                        ],
                    ),
                __rpc::MethodDescription::new("cow", "", "Cow<'_, str>")
                    .parameters(
                        &[
                            __rpc::ParameterDescription::new("text", "Cow<'_, str>"),
                            __rpc::ParameterDescription::new(
                                    "more",
                                    "Option<Cow<'_, str>>",
                                )
                                .optional(),
                        ],
                    ),
                __rpc::MethodDescription::new("bytes", "", "Vec<&str>")
                    .parameters(
                        &[
                            __rpc::ParameterDescription::new("bytes", "&[u8]"),
                            __rpc::ParameterDescription::new("more", "Option<&[u8]>")
                                .optional(),
                        ],
                    ),
                __rpc::MethodDescription::new("point", "", "Point<'_>")
                    .parameters(
                        &[__rpc::ParameterDescription::new("point", "Point<'_>")],
                    )
                    .errors(
                        __rpc::returns_result::<Point<'_>, Point<'static>, DivideError>()
                            .errors(),
                    ),
            ],
        };
    }
    impl TextsClient {
        fn pick_one(
            &self,
            first: &str,
            second_best: Option<&str>,
        ) -> __rpc::Call<__rpc::String> {
            static __METHOD: __rpc::Method = __rpc::Method::new("pickOne");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (
                        __rpc::arg::<&str>("first").send(&first),
                        __rpc::arg::<Option<&str>>("secondBest").send(&second_best),
                    ),
                    __rpc::returns::<&str, __rpc::String>(),
                )
        }
        fn cow(
            &self,
            text: Cow<'_, str>,
            more: Option<Cow<'_, str>>,
        ) -> __rpc::Call<Cow<'static, str>> {
            static __METHOD: __rpc::Method = __rpc::Method::new("cow");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (
                        __rpc::cow("text").send(&text),
                        __rpc::optional_cow("more").send(&more),
                    ),
                    __rpc::returns::<Cow<'_, str>, Cow<'static, str>>(),
                )
        }
        fn bytes(
            &self,
            bytes: &[u8],
            more: Option<&[u8]>,
        ) -> __rpc::Call<Vec<__rpc::String>> {
            static __METHOD: __rpc::Method = __rpc::Method::new("bytes");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (
                        __rpc::bytes("bytes").send(&bytes),
                        __rpc::optional_bytes("more").send(&more),
                    ),
                    __rpc::returns::<Vec<&str>, Vec<__rpc::String>>(),
                )
        }
        fn point(&self, point: Point<'_>) -> __rpc::Call<Point<'static>, DivideError> {
            static __METHOD: __rpc::Method = __rpc::Method::new("point");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (__rpc::arg::<Point<'_>>("point").send(&point),),
                    __rpc::returns_result::<Point<'_>, Point<'static>, DivideError>(),
                )
        }
    }
};
