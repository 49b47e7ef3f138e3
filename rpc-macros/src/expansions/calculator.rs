/// Arithmetic.
pub trait Calculator: ::rpc_runtime::private::Send + ::rpc_runtime::private::Sync + 'static {
    /// Adds.
    fn add(
        &self,
        a: i64,
        b: i64,
    ) -> impl ::rpc_runtime::private::Future<
        Output = i64,
    > + ::rpc_runtime::private::Send;
    fn divide(
        &self,
        a: f64,
        b: f64,
    ) -> impl ::rpc_runtime::private::Future<
        Output = Result<f64, DivideError>,
    > + ::rpc_runtime::private::Send;
    fn count(
        &self,
        text: &str,
        needle: Option<&str>,
    ) -> impl ::rpc_runtime::private::Future<
        Output = usize,
    > + ::rpc_runtime::private::Send;
    fn scale(
        &self,
        values: Vec<f64>,
        factor: f64,
    ) -> impl ::rpc_runtime::private::Future<
        Output = Vec<f64>,
    > + ::rpc_runtime::private::Send;
    fn sum(
        &self,
        values: Vec<i64>,
    ) -> impl ::rpc_runtime::private::Future<
        Output = i64,
    > + ::rpc_runtime::private::Send;
    fn log(
        &self,
        cx: &Context,
        line: &str,
    ) -> impl ::rpc_runtime::private::Future<Output = ()> + ::rpc_runtime::private::Send;
    fn digest(&self, cx: &Context, text: &str) -> String;
    fn name(
        &self,
    ) -> impl ::rpc_runtime::private::Future<
        Output = &str,
    > + ::rpc_runtime::private::Send;
}
///Serves a [`Calculator`].
pub struct CalculatorServer<__Service> {
    service: ::rpc_runtime::private::Arc<__Service>,
}
impl<__Service> CalculatorServer<__Service> {
    ///A new one.
    pub fn new(service: __Service) -> Self {
        Self {
            service: ::rpc_runtime::private::Arc::new(service),
        }
    }
}
impl<__Service> ::rpc_runtime::private::Clone for CalculatorServer<__Service> {
    fn clone(&self) -> Self {
        Self {
            service: ::rpc_runtime::private::Clone::clone(&self.service),
        }
    }
}
impl<__Service> ::rpc_runtime::private::Debug for CalculatorServer<__Service> {
    fn fmt(
        &self,
        f: &mut ::rpc_runtime::private::Formatter<'_>,
    ) -> ::rpc_runtime::private::FmtResult {
        f.debug_struct("CalculatorServer").finish_non_exhaustive()
    }
}
#[allow(deprecated)]
impl<__Service> ::rpc_runtime::private::Service for CalculatorServer<__Service>
where
    __Service: Calculator,
{
    const DESCRIPTION: &'static ::rpc_runtime::private::ServiceDescription = &::rpc_runtime::private::ServiceDescription {
        name: "Calculator",
        docs: "Arithmetic.",
        methods: &[
            ::rpc_runtime::private::MethodDescription {
                name: "calc.add",
                aliases: &[],
                docs: "Adds.",
                kind: ::rpc_runtime::private::MethodKind::Call,
                deprecated: false,
                parameters: &[
                    ::rpc_runtime::private::ParameterDescription {
                        name: "a",
                        type_name: "i64",
                        has_default: false,
                    },
                    ::rpc_runtime::private::ParameterDescription {
                        name: "b",
                        type_name: "i64",
                        has_default: false,
                    },
                ],
                whole_params: false,
                result: "i64",
            },
            ::rpc_runtime::private::MethodDescription {
                name: "calc.divide",
                aliases: &[],
                docs: "",
                kind: ::rpc_runtime::private::MethodKind::Call,
                deprecated: false,
                parameters: &[
                    ::rpc_runtime::private::ParameterDescription {
                        name: "a",
                        type_name: "f64",
                        has_default: false,
                    },
                    ::rpc_runtime::private::ParameterDescription {
                        name: "b",
                        type_name: "f64",
                        has_default: false,
                    },
                ],
                whole_params: false,
                result: "f64",
            },
            ::rpc_runtime::private::MethodDescription {
                name: "calc.count",
                aliases: &["wc"],
                docs: "",
                kind: ::rpc_runtime::private::MethodKind::Call,
                deprecated: false,
                parameters: &[
                    ::rpc_runtime::private::ParameterDescription {
                        name: "text",
                        type_name: "&str",
                        has_default: false,
                    },
                    ::rpc_runtime::private::ParameterDescription {
                        name: "needle",
                        type_name: "Option<&str>",
                        has_default: false,
                    },
                ],
                whole_params: false,
                result: "usize",
            },
            ::rpc_runtime::private::MethodDescription {
                name: "calc.scale",
                aliases: &[],
                docs: "",
                kind: ::rpc_runtime::private::MethodKind::Call,
                deprecated: false,
                parameters: &[
                    ::rpc_runtime::private::ParameterDescription {
                        name: "values",
                        type_name: "Vec<f64>",
                        has_default: false,
                    },
                    ::rpc_runtime::private::ParameterDescription {
                        name: "factor",
                        type_name: "f64",
                        has_default: true,
                    },
                ],
                whole_params: false,
                result: "Vec<f64>",
            },
            ::rpc_runtime::private::MethodDescription {
                name: "calc.sum",
                aliases: &[],
                docs: "",
                kind: ::rpc_runtime::private::MethodKind::Call,
                deprecated: false,
                parameters: &[
                    ::rpc_runtime::private::ParameterDescription {
                        name: "values",
                        type_name: "Vec<i64>",
                        has_default: false,
                    },
                ],
                whole_params: true,
                result: "i64",
            },
            ::rpc_runtime::private::MethodDescription {
                name: "calc.log",
                aliases: &[],
                docs: "",
                kind: ::rpc_runtime::private::MethodKind::Notification,
                deprecated: false,
                parameters: &[
                    ::rpc_runtime::private::ParameterDescription {
                        name: "line",
                        type_name: "&str",
                        has_default: false,
                    },
                ],
                whole_params: false,
                result: "()",
            },
            ::rpc_runtime::private::MethodDescription {
                name: "calc.digest",
                aliases: &[],
                docs: "",
                kind: ::rpc_runtime::private::MethodKind::Call,
                deprecated: false,
                parameters: &[
                    ::rpc_runtime::private::ParameterDescription {
                        name: "text",
                        type_name: "&str",
                        has_default: false,
                    },
                ],
                whole_params: false,
                result: "String",
            },
            ::rpc_runtime::private::MethodDescription {
                name: "calc.name",
                aliases: &[],
                docs: "",
                kind: ::rpc_runtime::private::MethodKind::Call,
                deprecated: false,
                parameters: &[],
                whole_params: false,
                result: "&str",
            },
        ],
    };
    const METHODS: u32 = 8;
    fn find(name: &str) -> ::rpc_runtime::private::Option<u32> {
        match name {
            "calc.add" => ::rpc_runtime::private::Some(0),
            "calc.divide" => ::rpc_runtime::private::Some(1),
            "calc.count" | "wc" => ::rpc_runtime::private::Some(2),
            "calc.scale" => ::rpc_runtime::private::Some(3),
            "calc.sum" => ::rpc_runtime::private::Some(4),
            "calc.log" => ::rpc_runtime::private::Some(5),
            "calc.digest" => ::rpc_runtime::private::Some(6),
            "calc.name" => ::rpc_runtime::private::Some(7),
            _ => ::rpc_runtime::private::None,
        }
    }
    async fn call(
        &self,
        method: u32,
        call: ::rpc_runtime::private::Incoming<'_, '_>,
        reply: &mut ::rpc_runtime::private::Reply,
    ) -> ::rpc_runtime::private::Result<(), ::rpc_runtime::private::Fault> {
        match method {
            0 => {
                let (a, b) = call
                    .arguments((
                        ::rpc_runtime::private::arg::<i64>("a"),
                        ::rpc_runtime::private::arg::<i64>("b"),
                    ))?;
                reply.value(&__Service::add(&self.service, a, b).await)
            }
            1 => {
                let (a, b) = call
                    .arguments((
                        ::rpc_runtime::private::arg::<f64>("a"),
                        ::rpc_runtime::private::arg::<f64>("b"),
                    ))?;
                reply.result(__Service::divide(&self.service, a, b).await)
            }
            2 => {
                let (text, needle) = call
                    .arguments((
                        ::rpc_runtime::private::arg::<&str>("text"),
                        ::rpc_runtime::private::arg::<Option<&str>>("needle"),
                    ))?;
                reply.value(&__Service::count(&self.service, text, needle).await)
            }
            3 => {
                let (values, factor) = call
                    .arguments((
                        ::rpc_runtime::private::arg::<Vec<f64>>("values"),
                        ::rpc_runtime::private::arg::<f64>("factor").or(|| 1.0),
                    ))?;
                reply.value(&__Service::scale(&self.service, values, factor).await)
            }
            4 => {
                let values = call.whole::<Vec<i64>>()?;
                reply.value(&__Service::sum(&self.service, values).await)
            }
            5 => {
                let cx = call.context();
                let (line,) = call
                    .arguments((::rpc_runtime::private::arg::<&str>("line"),))?;
                __Service::log(&self.service, cx, line).await;
                ::rpc_runtime::private::Ok(())
            }
            6 => {
                call.blocking(
                        &self.service,
                        reply,
                        |service, call, reply| {
                            let cx = call.context();
                            let (text,) = call
                                .arguments((::rpc_runtime::private::arg::<&str>("text"),))?;
                            reply.value(&__Service::digest(service, cx, text))
                        },
                    )
                    .await
            }
            7 => {
                call.arguments(())?;
                reply.value(&__Service::name(&self.service).await)
            }
            _ => ::rpc_runtime::private::unknown_method(),
        }
    }
}
///Calls a [`Calculator`].
pub struct CalculatorClient {
    client: ::rpc_runtime::private::Client,
}
impl CalculatorClient {
    ///A new one.
    pub fn new(client: ::rpc_runtime::private::Client) -> Self {
        Self { client: client }
    }
}
impl ::rpc_runtime::private::Clone for CalculatorClient {
    fn clone(&self) -> Self {
        Self {
            client: ::rpc_runtime::private::Clone::clone(&self.client),
        }
    }
}
impl ::rpc_runtime::private::Debug for CalculatorClient {
    fn fmt(
        &self,
        f: &mut ::rpc_runtime::private::Formatter<'_>,
    ) -> ::rpc_runtime::private::FmtResult {
        f.debug_struct("CalculatorClient").finish_non_exhaustive()
    }
}
impl CalculatorClient {
    /// Adds.
    pub fn add(&self, a: i64, b: i64) -> ::rpc_runtime::private::Call<i64> {
        static METHOD: ::rpc_runtime::private::Method = ::rpc_runtime::private::Method::new(
            "calc.add",
        );
        self.client
            .invoke(
                &METHOD,
                (::rpc_runtime::private::send(&a), ::rpc_runtime::private::send(&b)),
            )
    }
    pub fn divide(
        &self,
        a: f64,
        b: f64,
    ) -> ::rpc_runtime::private::Call<f64, DivideError> {
        static METHOD: ::rpc_runtime::private::Method = ::rpc_runtime::private::Method::new(
            "calc.divide",
        );
        self.client
            .invoke(
                &METHOD,
                (::rpc_runtime::private::send(&a), ::rpc_runtime::private::send(&b)),
            )
    }
    pub fn count(
        &self,
        text: &str,
        needle: Option<&str>,
    ) -> ::rpc_runtime::private::Call<usize> {
        static METHOD: ::rpc_runtime::private::Method = ::rpc_runtime::private::Method::new(
            "calc.count",
        );
        self.client
            .invoke(
                &METHOD,
                (
                    ::rpc_runtime::private::send(&text),
                    ::rpc_runtime::private::send(&needle),
                ),
            )
    }
    pub fn scale(
        &self,
        values: Vec<f64>,
        factor: f64,
    ) -> ::rpc_runtime::private::Call<Vec<f64>> {
        static METHOD: ::rpc_runtime::private::Method = ::rpc_runtime::private::Method::new(
            "calc.scale",
        );
        self.client
            .invoke(
                &METHOD,
                (
                    ::rpc_runtime::private::send(&values),
                    ::rpc_runtime::private::send(&factor),
                ),
            )
    }
    pub fn sum(&self, values: Vec<i64>) -> ::rpc_runtime::private::Call<i64> {
        static METHOD: ::rpc_runtime::private::Method = ::rpc_runtime::private::Method::new(
            "calc.sum",
        );
        self.client.invoke(&METHOD, ::rpc_runtime::private::whole(&values))
    }
    pub fn log(&self, line: &str) -> ::rpc_runtime::private::Notification {
        static METHOD: ::rpc_runtime::private::Method = ::rpc_runtime::private::Method::new(
            "calc.log",
        );
        self.client.invoke_notification(&METHOD, (::rpc_runtime::private::send(&line),))
    }
    pub fn digest(&self, text: &str) -> ::rpc_runtime::private::Call<String> {
        static METHOD: ::rpc_runtime::private::Method = ::rpc_runtime::private::Method::new(
            "calc.digest",
        );
        self.client.invoke(&METHOD, (::rpc_runtime::private::send(&text),))
    }
    pub fn name(&self) -> ::rpc_runtime::private::Call<::rpc_runtime::private::String> {
        static METHOD: ::rpc_runtime::private::Method = ::rpc_runtime::private::Method::new(
            "calc.name",
        );
        self.client.invoke(&METHOD, ::rpc_runtime::private::NoParams)
    }
}
