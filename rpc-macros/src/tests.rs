//! What the macros write, kept in `expansions/` as files to read. The package
//! `tests` compiles the same files.

use expect_test::expect_file;
use proc_macro2::TokenStream;
use quote::quote;

use crate::{error, expand};

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
        async fn sum(&self, #[rpc(params)] values: Vec<i64>) -> i64;
        #[rpc(notification)]
        async fn log(&self, cx: &Context, line: &str);
        #[rpc(blocking)]
        fn digest(&self, cx: &Context, text: &str) -> String;
        async fn name(&self) -> &str;
    }
})}

golden! { divide_error, error::derive(quote! {
    pub enum DivideError {
        #[rpc(code = 1001)]
        ByZero,
        #[rpc(code = 1002)]
        NotFinite { value: String },
    }
})}
