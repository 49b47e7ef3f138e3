const _: () = {
    use ::rpc_runtime::codegen as __rpc;
    impl<T> __rpc::RpcError for Shapes<T>
    where
        for<'__de> T: __rpc::Argument<'__de>,
    {
        const ERRORS: &'static [__rpc::ErrorDescription] = &[
            __rpc::ErrorDescription {
                name: "One",
                code: 1,
                message: "One",
                docs: "",
            },
            __rpc::ErrorDescription {
                name: "Two",
                code: -2,
                message: "Two",
                docs: "",
            },
            __rpc::ErrorDescription {
                name: "Named",
                code: 3,
                message: "Named",
                docs: "",
            },
        ];
        fn code(&self) -> __rpc::i64 {
            match self {
                Self::One { .. } => 1,
                Self::Two { .. } => -2,
                Self::Named { .. } => 3,
            }
        }
        fn write_data(&self, data: __rpc::DataWriter<'_>) {
            match self {
                Self::One(field0) => data.value(__rpc::arg::<T>("0").send(field0)),
                Self::Two(field0, field1) => {
                    data.array((
                        __rpc::arg::<u32>("0").send(field0),
                        __rpc::arg::<String>("1").send(field1),
                    ))
                }
                Self::Named { first_name: field0, last_name: field1 } => {
                    data.object()
                        .field(__rpc::arg::<T>("firstName").send(field0))
                        .field(__rpc::arg::<String>("surname").send(field1))
                        .end()
                }
            }
        }
        fn read(
            code: __rpc::i64,
            _: &__rpc::str,
            data: __rpc::ErrorData<'_, '_>,
        ) -> __rpc::Option<Self> {
            match code {
                1 => {
                    let field0 = data.entire(__rpc::arg::<T>("0"))?;
                    __rpc::Some(Self::One(field0))
                }
                -2 => {
                    let (field0, field1) = data
                        .arguments((__rpc::arg::<u32>("0"), __rpc::arg::<String>("1")))?;
                    __rpc::Some(Self::Two(field0, field1))
                }
                3 => {
                    let (field0, field1) = data
                        .arguments((
                            __rpc::arg::<T>("firstName"),
                            __rpc::arg::<String>("surname"),
                        ))?;
                    __rpc::Some(Self::Named {
                        first_name: field0,
                        last_name: field1,
                    })
                }
                _ => __rpc::None,
            }
        }
    }
    impl<T> __rpc::From<Shapes<T>> for __rpc::ErrorObject
    where
        for<'__de> T: __rpc::Argument<'__de>,
    {
        fn from(error: Shapes<T>) -> Self {
            Self::sent(&error)
        }
    }
    impl<__Schemas, T> __rpc::ErrorSchemas<__Schemas> for Shapes<T>
    where
        __Schemas: __rpc::Knows<T>,
        __Schemas: __rpc::Knows<u32>,
        __Schemas: __rpc::Knows<String>,
    {
        const SCHEMAS: &'static [__rpc::DataSchema] = &[
            __rpc::DataSchema::Value(<__Schemas as __rpc::Knows<T>>::SCHEMA),
            __rpc::DataSchema::Array(
                &[
                    <__Schemas as __rpc::Knows<u32>>::SCHEMA,
                    <__Schemas as __rpc::Knows<String>>::SCHEMA,
                ],
            ),
            __rpc::DataSchema::Object(
                &[
                    ("firstName", <__Schemas as __rpc::Knows<T>>::SCHEMA),
                    ("surname", <__Schemas as __rpc::Knows<String>>::SCHEMA),
                ],
            ),
        ];
    }
};
