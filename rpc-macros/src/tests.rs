//! Compares the code that the macros generate with the files in `expansions/`. The package `tests` compiles the same
//! files.

use expect_test::expect_file;
use proc_macro2::TokenStream;
use quote::quote;

use crate::{expand, rpc_error};

macro_rules! golden {
    ($name:ident, $expansion:expr) => {
        #[test]
        fn $name() {
            let expansion: TokenStream = $expansion;
            let file = syn::parse2(expansion).expect("the expansion is Rust");
            let path = concat!("expansions/", stringify!($name), ".rs");
            expect_file![path].assert_eq(&prettyplease::unparse(&file));
        }
    };
}

golden! { calculator, expand::rpc(quote!(namespace = "calc"), quote! {
    /// Arithmetic.
    pub trait Calculator {
        /// Adds.
        async fn add(&self, a: i64, b: i64) -> i64;
        async fn divide(&self, a: f64, b: f64) -> Result<f64, DivideError>;
        #[rpc(name = "count", alias = "wc")]
        async fn count(&self, text: &str, needle: Option<&str>) -> usize;
        async fn scale(&self, values: Vec<f64>, #[rpc(default = 1.0)] factor: f64) -> Vec<f64>;
        #[rpc(idempotent)]
        async fn sum(&self, #[rpc(params)] values: Vec<i64>) -> i64;
        #[rpc(notification)]
        async fn log(&self, cx: &Context, line: &str);
        #[rpc(notification, unreliable)]
        async fn tick(&self, count: u64);
        #[rpc(blocking)]
        fn digest(&self, cx: &Context, text: &str) -> String;
        async fn name(&self) -> &str;
    }
})}

golden! { one_method, expand::rpc(quote!(), quote! {
    trait Echo {
        async fn echo(&self, text: &str) -> String;
    }
})}

golden! { generic, expand::rpc(quote!(lenient, crate = rpc), quote! {
    pub(crate) trait Store<K, V: Clone, const N: usize>: Debug
    where
        K: Ord,
    {
        async fn get(&self, key: K) -> Option<&V>;
        async fn put(&self, keys: [K; N], value: V) -> Result<V>;
    }
})}

golden! { streams, expand::rpc(quote!(), quote! {
    pub(crate) trait Feed {
        /// Down.
        fn ticks(&self, symbol: &str) -> impl Stream<Item = Tick<'_>>;
        fn fallible(&self) -> impl futures_util::Stream<Item = Result<u64, FeedError>>;
        /// Up.
        async fn sum(&self, cx: &Context, start: u64, values: impl Stream<Item = u64>) -> u64;
        /// Both.
        fn echo(&self, items: impl Stream<Item = String>) -> impl Stream<Item = String>;
    }
})}

golden! { borrowed, expand::rpc(quote!(rename_all = "camelCase"), quote! {
    trait Texts {
        async fn pick_one<'a>(&self, first: &'a str, second_best: Option<&str>) -> &'a str;
        async fn cow(&self, text: Cow<'_, str>, more: Option<Cow<'_, str>>) -> Cow<'_, str>;
        async fn bytes(&self, bytes: &[u8], more: Option<&[u8]>) -> Vec<&str>;
        async fn point(&self, point: Point<'_>) -> Result<Point<'_>, DivideError>;
    }
})}

golden! { defaults, expand::rpc(quote!(), quote! {
    trait Defaults {
        /// Has a body.
        #[cfg(all())]
        #[deprecated = "for a test"]
        #[rpc(alias = "kind", alias = "sort")]
        async fn r#type(&self, r#in: u32, #[rpc(default)] mut out: u32) -> u32 {
            out += r#in;
            out
        }
        #[cfg(any())]
        async fn absent(&self, what: Missing);
    }
})}

golden! { openrpc, expand::rpc(quote!(openrpc), quote! {
    /// Sells.
    trait Shop<T: Send + Sync> {
        /// Looks up a price.
        #[rpc(example(name = "tea", params = {"what": "tea"}, result = 3))]
        async fn price(&self, what: &str, #[rpc(default = 1)] count: u32) -> Result<T, DivideError>;
        fn offers(&self, wishes: impl Stream<Item = String>) -> impl Stream<Item = T>;
    }
})}

golden! { divide_error, rpc_error::derive(quote! {
    pub enum DivideError {
        #[rpc(code = 1001)]
        ByZero,
        #[rpc(code = 1002)]
        NotFinite { value: String },
    }
})}

golden! { shapes, rpc_error::derive(quote! {
    #[rpc(rename_all = "camelCase")]
    enum Shapes<T> {
        #[rpc(code = 1)]
        One(T),
        #[rpc(code = -2)]
        Two(u32, String),
        #[rpc(code = 3)]
        Named {
            first_name: T,
            #[rpc(name = "surname")]
            last_name: String,
        },
    }
})}

golden! { fallback, expand::rpc(quote!(), quote! {
    trait Faulty<'a, K> {
        type Tea;
        async fn generic<T>(&self, (key, value): (K, &'a T)) -> T;
        fn new(self) -> impl Send;
    }
})}
