//! Routes calls to several services, as a balanced tree in the type: a hundred services are seven levels deep.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::pin::Pin;

use crate::codec::reply::{Fault, Reply};
use crate::description::ServiceDescription;
use crate::service::Service;
use crate::service::incoming::Incoming;
use crate::service::methods::{MethodCall, Methods, PartOf, Started, size};

/// A set of services; each call goes to one of them.
pub trait Router: Sized + Send + Sync + 'static {
    const METHODS: u32;

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

    /// Decodes the arguments, calls the handler and encodes the reply.
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

/// A list of services that can grow, structured as a binary number. The lowest digit is last.
///
/// The digit 1 is a pair of the higher digits and a tree. The tree of each digit has twice as many services as that of
/// the digit below. [`Zero`] is the digit 0, and `()` the end of the number.
pub trait Services: Router {
    type With<T: Router>: Services;

    /// Adds a tree with as many services as the lowest digit represents.
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
        PartOf {
            methods: S::methods(),
            part: |single: &'c Self| &single.0,
        }
    }
}

/// All methods of `T`, started by one function that dispatches by number itself.
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

/// A tree of two subtrees with the same number of services.
///
/// The future of each half comes from an async function, so its type names the services and not their methods. Types
/// that name all methods of a hundred services take the compiler a minute.
#[derive(Debug, Clone)]
pub struct Pair<A, B>(A, B);

impl<A: Router, B: Router> Router for Pair<A, B> {
    const METHODS: u32 = A::METHODS + B::METHODS;

    fn find(name: &str) -> Option<u32> {
        A::find(name).or_else(|| B::find(name).map(|method| A::METHODS + method))
    }

    fn describe(into: &mut Vec<&'static ServiceDescription>) {
        A::describe(into);
        B::describe(into);
    }

    fn methods<'c>() -> impl Methods<'c, Self, Slot: Send> {
        let first = |call: MethodCall<'c, Self>| half(call.of(|pair| &pair.0));
        let second = |call: MethodCall<'c, Self>| half(call.of(|pair| &pair.1));
        (Alike::<A, _>::new(first), Alike::<B, _>::new(second))
    }
}

async fn half<R: Router>(call: MethodCall<'_, R>) -> Result<(), Fault> {
    call.answer().await
}

impl<R: Services, T: Router> Router for (R, T) {
    const METHODS: u32 = R::METHODS + T::METHODS;

    fn find(name: &str) -> Option<u32> {
        R::find(name).or_else(|| T::find(name).map(|method| R::METHODS + method))
    }

    fn describe(into: &mut Vec<&'static ServiceDescription>) {
        R::describe(into);
        T::describe(into);
    }

    fn methods<'c>() -> impl Methods<'c, Self, Slot: Send> {
        let higher = PartOf {
            methods: R::methods(),
            part: |digits: &'c Self| &digits.0,
        };
        let lowest = PartOf {
            methods: T::methods(),
            part: |digits: &'c Self| &digits.1,
        };
        (higher, lowest)
    }
}

impl<R: Services, U: Router> Services for (R, U) {
    type With<T: Router> = Zero<R::With<Pair<U, T>>>;

    fn with<T: Router>(self, tree: T) -> Self::With<T> {
        let (higher, lowest) = self;
        Zero(higher.with(Pair(lowest, tree)))
    }
}

/// The higher digits of a number whose lowest digit is 0.
#[derive(Debug, Clone)]
pub struct Zero<R>(R);

impl<R: Services> Router for Zero<R> {
    const METHODS: u32 = R::METHODS;

    fn find(name: &str) -> Option<u32> {
        R::find(name)
    }

    fn describe(into: &mut Vec<&'static ServiceDescription>) {
        R::describe(into);
    }

    fn methods<'c>() -> impl Methods<'c, Self, Slot: Send> {
        PartOf {
            methods: R::methods(),
            part: |zero: &'c Self| &zero.0,
        }
    }
}

impl<R: Services> Services for Zero<R> {
    type With<T: Router> = (R, T);

    fn with<T: Router>(self, tree: T) -> Self::With<T> {
        (self.0, tree)
    }
}

/// Finds methods of an endpoint by name, with a table if there are more than [`FEW`].
#[derive(Debug)]
pub(crate) struct MethodNames(HashMap<&'static str, u32>);

/// The number of methods up to which comparing each name is faster than a table.
const FEW: u32 = 16;

impl MethodNames {
    pub(crate) fn of<R: Router>() -> Self {
        const { size(R::methods) };
        if R::METHODS <= FEW {
            return Self(HashMap::new());
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

    type Both = Pair<Single<FewServer<Letters>>, Single<ManyServer<Letters>>>;

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
        let three = ().with(few()).with(few()).with(few());
        let (((), Pair(Single(_), Single(_))), Single(_)) = &three;
        let four = three.with(few());
        let Zero(Zero(((), Pair(first, second)))) = four;
        let (Pair(Single(_), Single(_)), Pair(Single(_), Single(_))) = (first, second);
    }
}
