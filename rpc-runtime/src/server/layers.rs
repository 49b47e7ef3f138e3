//! Wraps all services of a server in middleware, and calls of unknown methods, too.

use std::sync::Arc;

use crate::codec::reply::{Fault, Reply};
use crate::description::{MethodDescription, ServiceDescription};
use crate::middleware::{Layered, ServerLayer};
use crate::service::Service;
use crate::service::incoming::Incoming;
use crate::service::methods::{Methods, absent};
use crate::service::router::{Router, Single, Tree, beside, tuples_of_trees};

/// The layers of a server. The layer that was added last is the innermost.
#[derive(Debug)]
pub struct LayerStack<I, L> {
    outer: I,
    layer: Arc<L>,
}

impl<I, L: ServerLayer> LayerStack<I, L> {
    pub(crate) fn new(outer: I, layer: L) -> Self {
        Self {
            outer,
            layer: Arc::new(layer),
        }
    }
}

/// Turns the services of a server into those that are served. Without layers they stay as they are.
pub trait ServerLayers<R> {
    type Served: Router;

    fn apply(self, services: R) -> Self::Served;
}

impl<R: Router> ServerLayers<R> for () {
    type Served = R;

    fn apply(self, services: R) -> R {
        services
    }
}

impl<R, I, L> ServerLayers<R> for LayerStack<I, L>
where
    Self: Wrap<WithUnknown<R, Single<Unknown>>>,
{
    type Served = <Self as Wrap<WithUnknown<R, Single<Unknown>>>>::Wrapped;

    fn apply(self, services: R) -> Self::Served {
        self.wrap(WithUnknown {
            services,
            unknown: Single(Unknown),
        })
    }
}

/// Wraps services in layers.
pub trait Wrap<R> {
    type Wrapped: Layerable;

    fn wrap(self, services: R) -> Self::Wrapped;
}

impl<R: Layerable> Wrap<R> for () {
    type Wrapped = R;

    fn wrap(self, services: R) -> R {
        services
    }
}

impl<R: Layerable, I: Wrap<R::Layered<L>>, L: ServerLayer> Wrap<R> for LayerStack<I, L> {
    type Wrapped = I::Wrapped;

    fn wrap(self, services: R) -> Self::Wrapped {
        self.outer.wrap(services.layered(&self.layer))
    }
}

/// Services that can be wrapped in a middleware, each for itself.
pub trait Layerable: Router {
    type Layered<L: ServerLayer>: Layerable;

    fn layered<L: ServerLayer>(self, layer: &Arc<L>) -> Self::Layered<L>;
}

impl Layerable for () {
    type Layered<L: ServerLayer> = ();

    fn layered<L: ServerLayer>(self, _: &Arc<L>) -> Self::Layered<L> {}
}

impl<S: Service> Layerable for Single<S> {
    type Layered<L: ServerLayer> = Single<Layered<L::Middleware, S>>;

    fn layered<L: ServerLayer>(self, layer: &Arc<L>) -> Self::Layered<L> {
        Single(Layered::new(layer.middleware(S::DESCRIPTION), self.0))
    }
}

impl<R: Layerable, U: Layerable> Layerable for WithUnknown<R, U> {
    type Layered<L: ServerLayer> = WithUnknown<R::Layered<L>, U::Layered<L>>;

    fn layered<L: ServerLayer>(self, layer: &Arc<L>) -> Self::Layered<L> {
        WithUnknown {
            services: self.services.layered(layer),
            unknown: self.unknown.layered(layer),
        }
    }
}

macro_rules! layerable {
    ($($($tree:ident $index:tt),*;)*) => { $(
        impl<$($tree: Layerable),*> Layerable for ($($tree,)*) {
            type Layered<L: ServerLayer> = ($($tree::Layered<L>,)*);

            fn layered<L: ServerLayer>(self, layer: &Arc<L>) -> Self::Layered<L> {
                ($(self.$index.layered(layer),)*)
            }
        }
    )* };
}

tuples_of_trees!(layerable);

layerable! {
    R 0, A 1, B 2, C 3, D 4, E 5, F 6, G 7;
}

impl<A, B, C, D, E, F, G, H> Layerable for Tree<A, B, C, D, E, F, G, H>
where
    A: Layerable,
    B: Layerable,
    C: Layerable,
    D: Layerable,
    E: Layerable,
    F: Layerable,
    G: Layerable,
    H: Layerable,
{
    type Layered<L: ServerLayer> = Tree<
        A::Layered<L>,
        B::Layered<L>,
        C::Layered<L>,
        D::Layered<L>,
        E::Layered<L>,
        F::Layered<L>,
        G::Layered<L>,
        H::Layered<L>,
    >;

    fn layered<L: ServerLayer>(self, layer: &Arc<L>) -> Self::Layered<L> {
        let Self(a, b, c, d, e, f, g, h) = self;
        Tree(
            a.layered(layer),
            b.layered(layer),
            c.layered(layer),
            d.layered(layer),
            e.layered(layer),
            f.layered(layer),
            g.layered(layer),
            h.layered(layer),
        )
    }
}

/// Services, and a service with one method that serves the calls of unknown methods. It is not described.
#[derive(Debug)]
pub struct WithUnknown<R, U> {
    services: R,
    unknown: U,
}

impl<R: Router, U: Router> Router for WithUnknown<R, U> {
    const METHODS: u32 = R::METHODS + U::METHODS;

    const UNKNOWN: Option<u32> = Some(R::METHODS);

    fn find(name: &str) -> Option<u32> {
        R::find(name)
    }

    fn describe(into: &mut Vec<&'static ServiceDescription>) {
        R::describe(into);
    }

    fn methods<'c>() -> impl Methods<'c, Self, Slot: Send> {
        (
            beside(|whole: &'c Self| &whole.services),
            beside(|whole: &'c Self| &whole.unknown),
        )
    }
}

/// The service of calls whose method no service has.
#[derive(Debug)]
pub struct Unknown;

// Not to be named in errors about the types of users.
#[diagnostic::do_not_recommend]
impl Service for Unknown {
    // The name of an unknown method in OpenTelemetry's conventions.
    const DESCRIPTION: &'static ServiceDescription = &ServiceDescription {
        name: "_OTHER",
        docs: "",
        version: None,
        methods: &[MethodDescription::new("_OTHER", "", "()")],
    };

    const METHODS: u32 = 1;

    fn find(_: &str) -> Option<u32> {
        Some(0)
    }

    fn methods<'c>() -> impl Methods<'c, Self, Slot: Send> {
        // Answers with the error for an unknown method.
        (
            |service: &'c Self, incoming: &'c Incoming<'c, 'c>, reply: &'c mut Reply| {
                answer(service, incoming, reply)
            },
        )
    }
}

async fn answer(
    service: &Unknown,
    incoming: &Incoming<'_, '_>,
    reply: &mut Reply,
) -> Result<(), Fault> {
    absent(service, incoming, reply).await
}
