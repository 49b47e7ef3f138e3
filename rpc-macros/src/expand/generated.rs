//! Text of generated code.

use proc_macro2::TokenStream;

/// Text that generated code is made of: its local names never meet the user's.
macro_rules! generated {
    ($($tokens:tt)*) => {
        ::quote::quote_spanned!(::proc_macro2::Span::mixed_site()=> $($tokens)*)
    };
}
pub(crate) use generated;

/// `impls`, where the runtime's door goes by a short name.
pub(crate) fn inside(door: &TokenStream, impls: TokenStream) -> TokenStream {
    generated! {
        const _: () = {
            use #door as __rpc;
            #impls
        };
    }
}
