const _: () = {
    use ::rpc_runtime::codegen as __rpc;
    impl __rpc::RpcError for DivideError {
        const ERRORS: &'static [__rpc::ErrorDescription] = &[
            __rpc::ErrorDescription {
                name: "ByZero",
                code: 1001,
                message: "ByZero",
                docs: "",
            },
            __rpc::ErrorDescription {
                name: "NotFinite",
                code: 1002,
                message: "NotFinite",
                docs: "",
            },
        ];
        fn code(&self) -> __rpc::i64 {
            match self {
                Self::ByZero { .. } => 1001,
                Self::NotFinite { .. } => 1002,
            }
        }
        fn write_data(&self, data: __rpc::DataWriter<'_>) {
            match self {
                Self::ByZero {} => data.none(),
                Self::NotFinite { value: field0 } => {
                    data.object().field(__rpc::arg::<String>("value").send(field0)).end()
                }
            }
        }
        fn read(
            code: __rpc::i64,
            _: &__rpc::str,
            data: __rpc::ErrorData<'_, '_>,
        ) -> __rpc::Option<Self> {
            match code {
                1001 => __rpc::Some(Self::ByZero {}),
                1002 => {
                    let (field0,) = data.arguments((__rpc::arg::<String>("value"),))?;
                    __rpc::Some(Self::NotFinite { value: field0 })
                }
                _ => __rpc::None,
            }
        }
    }
    impl __rpc::From<DivideError> for __rpc::ErrorObject {
        fn from(error: DivideError) -> Self {
            Self::sent(&error)
        }
    }
    impl<__Schemas> __rpc::ErrorSchemas<__Schemas> for DivideError
    where
        __Schemas: __rpc::Knows<String>,
    {
        const SCHEMAS: &'static [__rpc::DataSchema] = &[
            __rpc::DataSchema::Nothing,
            __rpc::DataSchema::Object(
                &[("value", <__Schemas as __rpc::Knows<String>>::SCHEMA)],
            ),
        ];
    }
};
