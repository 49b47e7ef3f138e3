//! Combines several services into one, as a balanced tree of types. A tree of a hundred services has three levels.

use std::marker::PhantomData;
use std::pin::Pin;

use rustc_hash::FxHashMap;

use crate::codec::reply::{Fault, Reply};
use crate::description::ServiceDescription;
use crate::service::Service;
use crate::service::incoming::Incoming;
use crate::service::methods::{MethodCall, Methods, PartOf, Started, size};

/// One or more services, exactly one of which serves a call.
pub trait Router: Sized + Send + Sync + 'static {
    const METHODS: u32;

    /// The number of the method that serves calls of unknown methods, if there is one.
    const UNKNOWN: Option<u32> = None;

    /// Returns the number of the method with this name.
    fn find(name: &str) -> Option<u32>;

    fn describe(into: &mut Vec<&'static ServiceDescription>);

    fn methods<'c>() -> impl Methods<'c, Self, Slot: Send>;

    /// Returns the descriptions of the services, in the order in which they were added.
    fn descriptions() -> Vec<&'static ServiceDescription> {
        let mut descriptions = Vec::new();
        Self::describe(&mut descriptions);
        descriptions
    }

    /// Decodes the arguments, calls the handler and writes the reply.
    fn call<'c>(
        &'c self,
        method: u32,
        incoming: &'c Incoming<'c, 'c>,
        reply: &'c mut Reply,
    ) -> impl Future<Output = Result<(), Fault>> + Send {
        let call = MethodCall {
            service: self,
            method,
            incoming,
            reply,
        };
        call.answer()
    }
}

impl<'c, R: Router> MethodCall<'c, R> {
    fn answer(self) -> impl Future<Output = Result<(), Fault>> + Send {
        self.run(R::methods())
    }
}

/// Services to which more can be added. The type represents their number in octal digits.
///
/// A tuple starts with the higher digits, followed by as many trees as the value of the lowest digit. A tree of the
/// lowest digit is one service; a tree of each higher digit has eight times as many services as a tree of the next
/// lower digit. `()` is zero.
pub trait Services: Router {
    type With<T: Router>: Services;

    /// Adds a tree, which adds one to the lowest digit.
    fn with<T: Router>(self, tree: T) -> Self::With<T>;
}

impl Router for () {
    const METHODS: u32 = 0;

    fn find(_: &str) -> Option<u32> {
        None
    }

    fn describe(_: &mut Vec<&'static ServiceDescription>) {}

    fn methods<'c>() -> impl Methods<'c, Self, Slot: Send> {}
}

impl Services for () {
    type With<T: Router> = ((), T);

    fn with<T: Router>(self, tree: T) -> Self::With<T> {
        (self, tree)
    }
}

/// One service.
#[derive(Debug, Clone)]
pub struct Single<S>(pub(crate) S);

impl<S: Service> Router for Single<S> {
    const METHODS: u32 = S::METHODS;

    fn find(name: &str) -> Option<u32> {
        S::find(name)
    }

    fn describe(into: &mut Vec<&'static ServiceDescription>) {
        into.push(S::DESCRIPTION);
    }

    fn methods<'c>() -> impl Methods<'c, Self, Slot: Send> {
        let methods = S::methods();
        let part = |single: &'c Self| &single.0;
        PartOf { methods, part }
    }
}

/// The methods of `T`, all of which the same function starts.
pub(crate) struct Alike<T, F> {
    start: F,
    of: PhantomData<fn() -> T>,
}

impl<T, F> Alike<T, F> {
    pub(crate) fn new(start: F) -> Self {
        let of = PhantomData;
        Self { start, of }
    }
}

impl<'c, S: 'c, T: Router, F, R> Methods<'c, S> for Alike<T, F>
where
    F: FnOnce(MethodCall<'c, S>) -> R + Send,
    R: Future<Output = Result<(), Fault>>,
{
    const COUNT: u32 = T::METHODS;

    const SIZE: usize = {
        size(T::methods);
        size_of::<Self::Slot>()
    };

    type Slot = Started<R>;

    #[inline]
    fn start(self, call: MethodCall<'c, S>, slot: Pin<&mut Self::Slot>) {
        slot.start(|| (self.start)(call));
    }
}

/// Eight trees as one tree.
#[derive(Debug, Clone)]
pub struct Tree<A, B, C, D, E, F, G, H>(
    pub(crate) A,
    pub(crate) B,
    pub(crate) C,
    pub(crate) D,
    pub(crate) E,
    pub(crate) F,
    pub(crate) G,
    pub(crate) H,
);

/// Returns the methods of a part of `W`.
pub(crate) fn beside<'c, W: 'c, T: Router>(
    part: impl FnOnce(&'c W) -> &'c T + Send,
) -> impl Methods<'c, W, Slot: Send> {
    let methods = T::methods();
    PartOf { methods, part }
}

/// Returns the methods of a part of `W`, in a future whose type names the services of the part but none of their
/// methods.
///
/// The compiler walks the type of all services in each function of the server. That took a minute when the type
/// contained the methods of a hundred services.
fn within<'c, W: 'c, T: Router>(
    part: impl FnOnce(&'c W) -> &'c T + Send,
) -> impl Methods<'c, W, Slot: Send> {
    async fn call<T: Router>(call: MethodCall<'_, T>) -> Result<(), Fault> {
        call.answer().await
    }
    Alike::<T, _>::new(|whole: MethodCall<'c, W>| call(whole.of(part)))
}

macro_rules! router {
    ($whole:ty: $($part:ident $index:tt),* by $methods:ident) => {
        impl<$($part: Router),*> Router for $whole {
            const METHODS: u32 = 0 $(+ $part::METHODS)*;

            #[allow(unused_variables)] // for the last part
            fn find(name: &str) -> Option<u32> {
                let before = 0;
                $(
                    if let Some(method) = $part::find(name) {
                        return Some(before + method);
                    }
                    let before = before + $part::METHODS;
                )*
                None
            }

            fn describe(into: &mut Vec<&'static ServiceDescription>) {
                $($part::describe(into);)*
            }

            fn methods<'c>() -> impl Methods<'c, Self, Slot: Send> {
                ($($methods(|whole: &'c Self| &whole.$index),)*)
            }
        }
    };
}

/// Calls a macro with the types and the indices of each tuple to which a tree can be added.
macro_rules! tuples_of_trees {
    ($with:ident) => {
        $with! {
            R 0;
            R 0, A 1;
            R 0, A 1, B 2;
            R 0, A 1, B 2, C 3;
            R 0, A 1, B 2, C 3, D 4;
            R 0, A 1, B 2, C 3, D 4, E 5;
            R 0, A 1, B 2, C 3, D 4, E 5, F 6;
        }
    };
}

#[cfg(feature = "server")]
pub(crate) use tuples_of_trees;

macro_rules! digits {
    ($(R 0 $(, $tree:ident $index:tt)*;)*) => { $(
        router!((R, $($tree,)*): R 0 $(, $tree $index)* by beside);

        impl<R: Services, $($tree: Router),*> Services for (R, $($tree,)*) {
            type With<T: Router> = (R, $($tree,)* T);

            fn with<T: Router>(self, tree: T) -> Self::With<T> {
                (self.0, $(self.$index,)* tree)
            }
        }
    )* };
}

tuples_of_trees!(digits);

router!((R, A, B, C, D, E, F, G): R 0, A 1, B 2, C 3, D 4, E 5, F 6, G 7 by beside);
router!(Tree<A, B, C, D, E, F, G, H>: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7 by within);

/// Implements the carry: the lowest digit is seven.
impl<R, A, B, C, D, E, F, G> Services for (R, A, B, C, D, E, F, G)
where
    R: Services,
    A: Router,
    B: Router,
    C: Router,
    D: Router,
    E: Router,
    F: Router,
    G: Router,
{
    type With<T: Router> = (R::With<Tree<A, B, C, D, E, F, G, T>>,);

    fn with<T: Router>(self, tree: T) -> Self::With<T> {
        let (higher, a, b, c, d, e, f, g) = self;
        (higher.with(Tree(a, b, c, d, e, f, g, tree)),)
    }
}

/// Finds methods by name, in a table if there are more than a few.
///
/// The hash need not resist attacks, because peers add nothing to the table.
#[derive(Debug)]
pub(crate) struct MethodNames(FxHashMap<&'static str, u32>);

/// The number of methods up to which comparing a name with all of them takes fewer instructions than the table.
const FEW: u32 = 16;

impl MethodNames {
    pub(crate) fn of<R: Router>() -> Self {
        const { size(R::methods) };
        if R::METHODS <= FEW {
            return Self(FxHashMap::default());
        }
        let descriptions = R::descriptions();
        let methods = descriptions.iter().flat_map(|service| service.methods);
        let names = methods.flat_map(|method| std::iter::once(&method.name).chain(method.aliases));
        Self(
            names
                .filter_map(|name| Some((*name, R::find(name)?)))
                .collect(),
        )
    }

    pub(crate) fn find<R: Router>(&self, name: &str) -> Option<u32> {
        match R::METHODS <= FEW {
            true => R::find(name),
            false => self.0.get(name).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, rpc};

    #[rpc(crate = crate, namespace = "many")]
    trait Many {
        async fn a(&self) -> u8;
        async fn b(&self) -> u8;
        async fn c(&self) -> u8;
        async fn d(&self) -> u8;
        async fn e(&self) -> u8;
        async fn f(&self) -> u8;
        async fn g(&self) -> u8;
        async fn h(&self) -> u8;
        #[cfg(any())]
        async fn not_compiled(&self) -> u8;
        async fn i(&self) -> u8;
        async fn j(&self) -> u8;
        async fn k(&self) -> u8;
        async fn l(&self) -> u8;
        async fn m(&self) -> u8;
        async fn n(&self) -> u8;
        async fn o(&self) -> u8;
        async fn p(&self) -> u8;
        #[rpc(alias = "last", alias = "very.last")]
        async fn q(&self) -> u8;
    }

    #[rpc(crate = crate)]
    trait Few {
        #[rpc(alias = "other")]
        async fn one(&self) -> u8;
    }

    struct Letters;

    macro_rules! letters {
        ($($name:ident)*) => {
            impl Many for Letters {
                $(async fn $name(&self) -> u8 {
                    stringify!($name).as_bytes()[0]
                })*
            }
        };
    }

    letters!(a b c d e f g h i j k l m n o p q);

    impl Few for Letters {
        async fn one(&self) -> u8 {
            1
        }
    }

    type Both = ((), Single<FewServer<Letters>>, Single<ManyServer<Letters>>);

    #[test]
    fn names_in_a_table_are_found_as_the_services_find_them() {
        let names = MethodNames::of::<Both>();
        assert!(!names.0.is_empty());
        for name in ["one", "other", "many.a", "many.q", "last", "very.last"] {
            let found = names.find::<Both>(name);
            assert!(found.is_some(), "{name}");
            assert_eq!(found, Both::find(name), "{name}");
        }
        for name in ["", "two", "many", "many.", "many.not_compiled", "many.r"] {
            assert_eq!(names.find::<Both>(name), None, "{name}");
        }
    }

    #[test]
    fn few_methods_need_no_table() {
        let names = MethodNames::of::<Single<FewServer<Letters>>>();
        assert_eq!(names.0.capacity(), 0);
        let found =
            ["one", "other", "two"].map(|name| names.find::<Single<FewServer<Letters>>>(name));
        assert_eq!(found, [Some(0), Some(0), None]);
    }

    #[tokio::test]
    async fn method_behind_one_that_is_not_compiled_is_called_answers() {
        let client = ManyClient::new(Client::local(ManyServer::new(Letters)));
        assert_eq!(client.h().await.unwrap(), b'h');
        assert_eq!(client.i().await.unwrap(), b'i');
        assert_eq!(client.q().await.unwrap(), b'q');
    }

    #[test]
    fn services_that_are_added_make_a_balanced_tree() {
        let few = || Single(FewServer::new(Letters));
        let seven = ().with(few()).with(few()).with(few()).with(few());
        let seven = seven.with(few()).with(few()).with(few());
        let ((), Single(_), Single(_), Single(_), _, _, _, Single(_)) = &seven;
        let nine = seven.with(few()).with(few());
        let (((), tree), Single(_)) = nine;
        let Tree(Single(_), _, _, _, _, _, _, Single(_)) = tree;
    }
}
