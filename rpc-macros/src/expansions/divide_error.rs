#[allow(deprecated)]
impl ::rpc_runtime::private::RpcError for DivideError {
    fn code(&self) -> i64 {
        match *self {
            Self::ByZero { .. } => 1001,
            Self::NotFinite { .. } => 1002,
        }
    }
    fn write_data(&self, data: ::rpc_runtime::private::DataWriter<'_>) {
        match self {
            Self::ByZero => data.none(),
            Self::NotFinite { value } => data.object().field("value", value).end(),
        }
    }
    fn read(
        code: i64,
        _: &str,
        data: ::rpc_runtime::private::ErrorData<'_, '_>,
    ) -> ::rpc_runtime::private::Option<Self> {
        match code {
            1001 => ::rpc_runtime::private::Some(Self::ByZero),
            1002 => {
                let (value,) = data
                    .arguments((::rpc_runtime::private::arg::<String>("value"),))?;
                ::rpc_runtime::private::Some(Self::NotFinite { value })
            }
            _ => ::rpc_runtime::private::None,
        }
    }
}
