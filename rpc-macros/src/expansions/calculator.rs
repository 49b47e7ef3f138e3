#[diagnostic::on_unimplemented(
    note = "`CalculatorServer::new` takes a type that implements `Calculator`; to share it, pass an `Arc` of it to `CalculatorServer::from_arc`"
)]
/// Arithmetic.
pub trait Calculator: ::rpc_runtime::codegen::Send + ::rpc_runtime::codegen::Sync + 'static {
    /// Adds.
    fn add(
        &self,
        a: i64,
        b: i64,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = i64,
    > + ::rpc_runtime::codegen::Send;
    fn divide(
        &self,
        a: f64,
        b: f64,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = Result<f64, DivideError>,
    > + ::rpc_runtime::codegen::Send;
    fn count(
        &self,
        text: &str,
        needle: Option<&str>,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = usize,
    > + ::rpc_runtime::codegen::Send;
    fn scale(
        &self,
        values: Vec<f64>,
        factor: f64,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = Vec<f64>,
    > + ::rpc_runtime::codegen::Send;
    fn sum(
        &self,
        values: Vec<i64>,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = i64,
    > + ::rpc_runtime::codegen::Send;
    fn log(
        &self,
        cx: &Context,
        line: &str,
    ) -> impl ::rpc_runtime::codegen::Future<Output = ()> + ::rpc_runtime::codegen::Send;
    fn tick(
        &self,
        count: u64,
    ) -> impl ::rpc_runtime::codegen::Future<Output = ()> + ::rpc_runtime::codegen::Send;
    fn digest(&self, cx: &Context, text: &str) -> String;
    fn name(
        &self,
    ) -> impl ::rpc_runtime::codegen::Future<
        Output = &str,
    > + ::rpc_runtime::codegen::Send;
}
/// Serves an implementation of [`Calculator`].
pub struct CalculatorServer<__Service> {
    service: ::rpc_runtime::codegen::Arc<__Service>,
}
/// Calls an implementation of [`Calculator`].
pub struct CalculatorClient {
    client: ::rpc_runtime::codegen::Client,
}
const _: () = {
    use ::rpc_runtime::codegen as __rpc;
    impl<__Service> CalculatorServer<__Service> {
        /// Wraps `service`.
        pub fn new(service: __Service) -> Self {
            Self {
                service: __rpc::Arc::new(service),
            }
        }
        /// Wraps a shared `service`.
        pub fn from_arc(service: __rpc::Arc<__Service>) -> Self {
            Self { service }
        }
    }
    impl<__Service> __rpc::Clone for CalculatorServer<__Service> {
        fn clone(&self) -> Self {
            Self {
                service: __rpc::Clone::clone(&self.service),
            }
        }
    }
    impl<__Service> __rpc::Debug for CalculatorServer<__Service> {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("CalculatorServer").finish_non_exhaustive()
        }
    }
    impl<__Service> CalculatorServer<__Service>
    where
        __Service: Calculator,
    {
        async fn __call_add(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (a, b) = call
                .arguments((__rpc::arg::<i64>("a"), __rpc::arg::<i64>("b")))?;
            reply
                .value(
                    &<__Service as Calculator>::add(&self.service, a, b).await,
                    __rpc::returns::<i64, i64>(),
                )
        }
        async fn __call_divide(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (a, b) = call
                .arguments((__rpc::arg::<f64>("a"), __rpc::arg::<f64>("b")))?;
            reply
                .result(
                    <__Service as Calculator>::divide(&self.service, a, b).await,
                    __rpc::returns_result::<f64, f64, DivideError>(),
                )
        }
        async fn __call_count(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (text, needle) = call
                .arguments((
                    __rpc::arg::<&str>("text"),
                    __rpc::arg::<Option<&str>>("needle"),
                ))?;
            reply
                .value(
                    &<__Service as Calculator>::count(&self.service, text, needle).await,
                    __rpc::returns::<usize, usize>(),
                )
        }
        async fn __call_scale(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (values, factor) = call
                .arguments((
                    __rpc::arg::<Vec<f64>>("values"),
                    __rpc::arg::<f64>("factor")
                        .or(|| <CalculatorClient>::__default_scale_1()),
                ))?;
            reply
                .value(
                    &<__Service as Calculator>::scale(&self.service, values, factor)
                        .await,
                    __rpc::returns::<Vec<f64>, Vec<f64>>(),
                )
        }
        async fn __call_sum(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let values = call.entire(__rpc::arg::<Vec<i64>>("values"))?;
            reply
                .value(
                    &<__Service as Calculator>::sum(&self.service, values).await,
                    __rpc::returns::<i64, i64>(),
                )
        }
        async fn __call_log(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            _reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let cx = __rpc::context::<Context>(call);
            let (line,) = call.arguments((__rpc::arg::<&str>("line"),))?;
            <__Service as Calculator>::log(&self.service, cx, line).await;
            __rpc::Ok(())
        }
        async fn __call_tick(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            _reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            let (count,) = call.arguments((__rpc::arg::<u64>("count"),))?;
            <__Service as Calculator>::tick(&self.service, count).await;
            __rpc::Ok(())
        }
        async fn __call_digest(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            call.blocking(
                    &self.service,
                    reply,
                    |service, call, reply| {
                        let cx = __rpc::context::<Context>(call);
                        let (text,) = call.arguments((__rpc::arg::<&str>("text"),))?;
                        reply
                            .value(
                                &<__Service as Calculator>::digest(service, cx, text),
                                __rpc::returns::<String, String>(),
                            )
                    },
                )
                .await
        }
        async fn __call_name(
            &self,
            call: &__rpc::Incoming<'_, '_>,
            reply: &mut __rpc::Reply,
        ) -> __rpc::Result<(), __rpc::Fault> {
            call.arguments(())?;
            reply
                .value(
                    &<__Service as Calculator>::name(&self.service).await,
                    __rpc::returns::<&str, __rpc::String>(),
                )
        }
    }
    impl<__Service> __rpc::From<__rpc::Arc<__Service>> for CalculatorServer<__Service> {
        fn from(service: __rpc::Arc<__Service>) -> Self {
            Self::from_arc(service)
        }
    }
    impl<__Service> __rpc::InUse<CalculatorServer<__Service>> for ()
    where
        __Service: Calculator,
    {}
    impl<__Service> __rpc::Service for CalculatorServer<__Service>
    where
        __Service: Calculator,
    {
        const DESCRIPTION: &'static __rpc::ServiceDescription = <CalculatorClient as __rpc::Described>::DESCRIPTION;
        const METHODS: __rpc::u32 = 9;
        fn find(name: &__rpc::str) -> __rpc::Option<__rpc::u32> {
            match name {
                "calc.add" => __rpc::Some(0),
                "calc.divide" => __rpc::Some(1),
                "calc.count" | "wc" => __rpc::Some(2),
                "calc.scale" => __rpc::Some(3),
                "calc.sum" => __rpc::Some(4),
                "calc.log" => __rpc::Some(5),
                "calc.tick" => __rpc::Some(6),
                "calc.digest" => __rpc::Some(7),
                "calc.name" => __rpc::Some(8),
                _ => __rpc::None,
            }
        }
        fn methods<'__c>() -> impl __rpc::Methods<'__c, Self, Slot: __rpc::Send> {
            (
                (
                    Self::__call_add,
                    Self::__call_divide,
                    Self::__call_count,
                    Self::__call_scale,
                    Self::__call_sum,
                    Self::__call_log,
                    Self::__call_tick,
                    Self::__call_digest,
                ),
                (Self::__call_name,),
            )
        }
    }
    impl CalculatorClient {
        /// Wraps `client`.
        pub fn new(client: __rpc::Client) -> Self {
            Self { client }
        }
    }
    impl __rpc::Clone for CalculatorClient {
        fn clone(&self) -> Self {
            Self {
                client: __rpc::Clone::clone(&self.client),
            }
        }
    }
    impl __rpc::Debug for CalculatorClient {
        fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            f.debug_struct("CalculatorClient").finish_non_exhaustive()
        }
    }
    impl __rpc::From<__rpc::Client> for CalculatorClient {
        fn from(client: __rpc::Client) -> Self {
            Self::new(client)
        }
    }
    impl __rpc::AsRef<__rpc::Client> for CalculatorClient {
        fn as_ref(&self) -> &__rpc::Client {
            &self.client
        }
    }
    impl __rpc::Described for CalculatorClient {
        const DESCRIPTION: &'static __rpc::ServiceDescription = &__rpc::ServiceDescription {
            name: "Calculator",
            docs: "Arithmetic.",
            version: __rpc::option_env!("CARGO_PKG_VERSION"),
            methods: &[
                __rpc::MethodDescription::new("calc.add", "Adds.", "i64")
                    .parameters(
                        &[
                            __rpc::ParameterDescription::new("a", "i64"),
                            __rpc::ParameterDescription::new("b", "i64"),
                        ],
                    ),
                __rpc::MethodDescription::new("calc.divide", "", "f64")
                    .parameters(
                        &[
                            __rpc::ParameterDescription::new("a", "f64"),
                            __rpc::ParameterDescription::new("b", "f64"),
                        ],
                    )
                    .errors(__rpc::returns_result::<f64, f64, DivideError>().errors()),
                __rpc::MethodDescription::new("calc.count", "", "usize")
                    .aliases(&["wc"])
                    .parameters(
                        &[
                            __rpc::ParameterDescription::new("text", "&str"),
                            __rpc::ParameterDescription::new("needle", "Option<&str>")
                                .optional(),
                        ],
                    ),
                __rpc::MethodDescription::new("calc.scale", "", "Vec<f64>")
                    .parameters(
                        &[
                            __rpc::ParameterDescription::new("values", "Vec<f64>"),
                            __rpc::ParameterDescription::new("factor", "f64")
                                .default(|| __rpc::written(
                                    __rpc::arg::<f64>("factor"),
                                    Self::__default_scale_1(),
                                )),
                        ],
                    ),
                __rpc::MethodDescription::new("calc.sum", "", "i64")
                    .entire_params(
                        &[__rpc::ParameterDescription::new("values", "Vec<i64>")],
                    )
                    .idempotent(),
                __rpc::MethodDescription::new("calc.log", "", "()")
                    .parameters(&[__rpc::ParameterDescription::new("line", "&str")])
                    .notification(),
                __rpc::MethodDescription::new("calc.tick", "", "()")
                    .parameters(&[__rpc::ParameterDescription::new("count", "u64")])
                    .notification()
                    .unreliable(),
                __rpc::MethodDescription::new("calc.digest", "", "String")
                    .parameters(&[__rpc::ParameterDescription::new("text", "&str")]),
                __rpc::MethodDescription::new("calc.name", "", "&str"),
            ],
        };
    }
    impl CalculatorClient {
        /// Adds.
        pub fn add(&self, a: i64, b: i64) -> __rpc::Call<i64> {
            static __METHOD: __rpc::Method = __rpc::Method::new("calc.add");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (__rpc::arg::<i64>("a").send(&a), __rpc::arg::<i64>("b").send(&b)),
                    __rpc::returns::<i64, i64>(),
                )
        }
        pub fn divide(&self, a: f64, b: f64) -> __rpc::Call<f64, DivideError> {
            static __METHOD: __rpc::Method = __rpc::Method::new("calc.divide");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (__rpc::arg::<f64>("a").send(&a), __rpc::arg::<f64>("b").send(&b)),
                    __rpc::returns_result::<f64, f64, DivideError>(),
                )
        }
        pub fn count(&self, text: &str, needle: Option<&str>) -> __rpc::Call<usize> {
            static __METHOD: __rpc::Method = __rpc::Method::new("calc.count");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (
                        __rpc::arg::<&str>("text").send(&text),
                        __rpc::arg::<Option<&str>>("needle").send(&needle),
                    ),
                    __rpc::returns::<usize, usize>(),
                )
        }
        pub fn scale(&self, values: Vec<f64>, factor: f64) -> __rpc::Call<Vec<f64>> {
            static __METHOD: __rpc::Method = __rpc::Method::new("calc.scale");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (
                        __rpc::arg::<Vec<f64>>("values").send(&values),
                        __rpc::arg::<f64>("factor").send_always(&factor),
                    ),
                    __rpc::returns::<Vec<f64>, Vec<f64>>(),
                )
        }
        pub fn sum(&self, values: Vec<i64>) -> __rpc::Call<i64> {
            static __METHOD: __rpc::Method = __rpc::Method::new("calc.sum").idempotent();
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    __rpc::entire(__rpc::arg::<Vec<i64>>("values").send(&values)),
                    __rpc::returns::<i64, i64>(),
                )
        }
        pub fn log(&self, line: &str) -> __rpc::Notification {
            static __METHOD: __rpc::Method = __rpc::Method::new("calc.log");
            self.client
                .invoke_notification(
                    __METHOD.of::<Self>(),
                    (__rpc::arg::<&str>("line").send(&line),),
                )
        }
        pub fn tick(&self, count: u64) -> __rpc::Notification {
            static __METHOD: __rpc::Method = __rpc::Method::new("calc.tick");
            self.client
                .invoke_notification(
                    __METHOD.of::<Self>(),
                    (__rpc::arg::<u64>("count").send(&count),),
                )
                .unreliable()
        }
        pub fn digest(&self, text: &str) -> __rpc::Call<String> {
            static __METHOD: __rpc::Method = __rpc::Method::new("calc.digest");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    (__rpc::arg::<&str>("text").send(&text),),
                    __rpc::returns::<String, String>(),
                )
        }
        pub fn name(&self) -> __rpc::Call<__rpc::String> {
            static __METHOD: __rpc::Method = __rpc::Method::new("calc.name");
            self.client
                .invoke(
                    __METHOD.of::<Self>(),
                    __rpc::NoParams,
                    __rpc::returns::<&str, __rpc::String>(),
                )
        }
        fn __default_scale_1() -> f64 {
            1.0
        }
    }
};
