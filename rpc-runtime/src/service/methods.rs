//! Represents the methods of one or several services as one type, and their futures as another.
//!
//! Each method has its own future type, and no future is boxed. [`OneOf`] holds any of eight futures. If there are more
//! methods, each of the eight is a `OneOf` itself, so the nesting depth is the number of octal digits in the number of
//! methods.
//!
//! A future is constructed directly in its slot. Only the function that starts it holds it by value, and no function
//! handles more than eight methods. The stack that a call needs to start and to be polled therefore does not grow with
//! the number of methods. This also holds in unoptimized builds, where each value of a function has its own stack slot.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;

use crate::codec::reply::{Fault, FaultKind, Reply};
use crate::service::incoming::Incoming;

/// Starts each of several methods of an `S`. Implemented by functions, and by tuples of up to eight `Methods`.
///
/// Its values have size zero; only the types matter.
pub trait Methods<'c, S: 'c>: Send {
    /// The number of methods. They are numbered from 0.
    const COUNT: u32;

    /// The slot that holds the future of a call.
    type Slot: MethodSlot;

    /// The size of `Slot`. Evaluating it makes the compiler compute the layouts of the inner types first.
    ///
    /// The compiler computes the layout of a type from those of its parts, with limited recursion for layouts that are
    /// not cached. In this order, twenty layers around a service recurse no deeper than one.
    const SIZE: usize;

    /// Starts a call in `slot`.
    fn start(self, call: MethodCall<'c, S>, slot: Pin<&mut Self::Slot>);
}

/// Returns [`Methods::SIZE`] of a function's return type, which cannot be named.
pub(crate) const fn size<'c, S: 'c, M: Methods<'c, S>>(_: fn() -> M) -> usize {
    M::SIZE
}

/// One call of a method of an `S`.
pub struct MethodCall<'c, S> {
    pub(crate) service: &'c S,
    pub(crate) method: u32,
    pub(crate) incoming: &'c Incoming<'c, 'c>,
    pub(crate) reply: &'c mut Reply,
}

/// Hides the reply, which may hold secrets.
impl<S> fmt::Debug for MethodCall<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodCall")
            .field("method", &self.method)
            .field("incoming", self.incoming)
            .finish_non_exhaustive()
    }
}

impl<'c, S> MethodCall<'c, S> {
    /// Narrows the call to a part of the service.
    pub(crate) fn of<P>(self, part: impl FnOnce(&'c S) -> &'c P) -> MethodCall<'c, P> {
        MethodCall {
            service: part(self.service),
            method: self.method,
            incoming: self.incoming,
            reply: self.reply,
        }
    }

    /// Returns a future that starts the call when it is first polled.
    pub(crate) fn run<M: Methods<'c, S>>(self, methods: M) -> Run<'c, S, M, M::Slot> {
        Run {
            start: Some((methods, self)),
            slot: M::Slot::empty(),
        }
    }
}

/// A slot for the future of one call.
pub trait MethodSlot: Future<Output = Result<(), Fault>> {
    /// Returns a slot without a call. Polling it yields the error for an unknown method.
    fn empty() -> Self;
}

pin_project! {
    /// A call that starts when it is first polled.
    pub(crate) struct Run<'c, S, M, T> {
        start: Option<(M, MethodCall<'c, S>)>,
        #[pin]
        slot: T,
    }
}

impl<'c, S, M: Methods<'c, S>> Future for Run<'c, S, M, M::Slot> {
    type Output = Result<(), Fault>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some((methods, call)) = this.start.take() {
            methods.start(call, this.slot.as_mut());
        }
        this.slot.poll(cx)
    }
}

pin_project! {
    /// The slot for one method's future.
    pub struct Started<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<F> Started<F> {
    #[inline]
    pub(crate) fn start(mut self: Pin<&mut Self>, start: impl FnOnce() -> F) {
        self.as_mut().project().future.set(Some(start()));
    }
}

impl<F: Future<Output = Result<(), Fault>>> MethodSlot for Started<F> {
    #[inline]
    fn empty() -> Self {
        Self { future: None }
    }
}

impl<F: Future<Output = Result<(), Fault>>> Future for Started<F> {
    type Output = Result<(), Fault>;

    // Not `inline`: with its own function around each handler a call takes fewer instructions.
    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match self.project().future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Ready(unknown_method()),
        }
    }
}

/// One method: a function of generated code.
impl<'c, S: 'c, F, T> Methods<'c, S> for F
where
    F: FnOnce(&'c S, &'c Incoming<'c, 'c>, &'c mut Reply) -> T + Send,
    T: Future<Output = Result<(), Fault>>,
{
    const COUNT: u32 = 1;

    const SIZE: usize = size_of::<Self::Slot>();

    type Slot = Started<T>;

    #[inline]
    fn start(self, call: MethodCall<'c, S>, slot: Pin<&mut Self::Slot>) {
        let MethodCall {
            service,
            incoming,
            reply,
            ..
        } = call;
        slot.start(|| self(service, incoming, reply));
    }
}

/// Takes the number of a method that is not compiled, so that the following methods keep theirs.
pub async fn absent<S>(_: &S, _: &Incoming<'_, '_>, _: &mut Reply) -> Result<(), Fault> {
    unknown_method()
}

/// The methods of a part of `S`.
pub(crate) struct PartOf<M, P> {
    pub(crate) methods: M,
    pub(crate) part: P,
}

impl<'c, S: 'c, T: 'c, M, P> Methods<'c, S> for PartOf<M, P>
where
    M: Methods<'c, T>,
    P: FnOnce(&'c S) -> &'c T + Send,
{
    const COUNT: u32 = M::COUNT;

    const SIZE: usize = M::SIZE;

    type Slot = M::Slot;

    #[inline]
    fn start(self, call: MethodCall<'c, S>, slot: Pin<&mut Self::Slot>) {
        self.methods.start(call.of(self.part), slot);
    }
}

/// Returns the error for an unknown method.
fn unknown_method() -> Result<(), Fault> {
    Err(Fault(FaultKind::UnknownMethod))
}

/// A future type without values.
pub enum Never {}

impl Future for Never {
    type Output = Result<(), Fault>;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match *self {}
    }
}

macro_rules! one_of {
    ($($variant:ident $enter:ident),*) => {
        pin_project! {
            /// The slot for any one of up to eight calls.
            #[project = Projected]
            pub enum OneOf<$($variant),*> {
                /// No call was started.
                Empty,
                $(
                    /// A call was started.
                    $variant {
                        #[pin]
                        slot: $variant,
                    },
                )*
            }
        }

        impl<$($variant),*> OneOf<$($variant),*> {
            // Each function moves an empty slot, which is as large as a full one. Its stack frame is gone when the call
            // starts.
            $(
                #[inline]
                fn $enter(mut self: Pin<&mut Self>) -> Option<Pin<&mut $variant>>
                where
                    $variant: MethodSlot,
                {
                    self.set(Self::$variant { slot: MethodSlot::empty() });
                    match self.project() {
                        Projected::$variant { slot } => Some(slot),
                        _ => None,
                    }
                }
            )*
        }

        impl<$($variant),*> MethodSlot for OneOf<$($variant),*>
        where
            $($variant: Future<Output = Result<(), Fault>>),*
        {
            #[inline]
            fn empty() -> Self {
                Self::Empty
            }
        }

        impl<$($variant),*> Future for OneOf<$($variant),*>
        where
            $($variant: Future<Output = Result<(), Fault>>),*
        {
            type Output = Result<(), Fault>;

            #[inline]
            fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
                match self.project() {
                    Projected::Empty => Poll::Ready(unknown_method()),
                    $(Projected::$variant { slot } => slot.poll(cx),)*
                }
            }
        }
    };
}

one_of!(A enter_a, B enter_b, C enter_c, D enter_d, E enter_e, F enter_f, G enter_g, H enter_h);

macro_rules! tuples {
    ($($($part:ident $enter:ident),* => $($none:ident),*;)*) => { $(
        impl<'c, S: 'c, $($part: Methods<'c, S>),*> Methods<'c, S> for ($($part,)*) {
            const COUNT: u32 = 0 $(+ $part::COUNT)*;

            const SIZE: usize = {
                let _: &[usize] = &[$($part::SIZE),*];
                size_of::<Self::Slot>()
            };

            type Slot = OneOf<$($part::Slot,)* $($none),*>;

            #[allow(non_snake_case, unused_assignments, unused_mut, unused_variables)] // for the empty tuple
            #[inline]
            fn start(self, mut call: MethodCall<'c, S>, slot: Pin<&mut Self::Slot>) {
                let ($($part,)*) = self;
                $(
                    if call.method < $part::COUNT {
                        if let Some(slot) = slot.$enter() {
                            $part.start(call, slot);
                        }
                        return;
                    }
                    call.method -= $part::COUNT;
                )*
            }
        }
    )* };
}

tuples! {
    => Never, Never, Never, Never, Never, Never, Never, Never;
    A enter_a => Never, Never, Never, Never, Never, Never, Never;
    A enter_a, B enter_b => Never, Never, Never, Never, Never, Never;
    A enter_a, B enter_b, C enter_c => Never, Never, Never, Never, Never;
    A enter_a, B enter_b, C enter_c, D enter_d => Never, Never, Never, Never;
    A enter_a, B enter_b, C enter_c, D enter_d, E enter_e => Never, Never, Never;
    A enter_a, B enter_b, C enter_c, D enter_d, E enter_e, F enter_f => Never, Never;
    A enter_a, B enter_b, C enter_c, D enter_d, E enter_e, F enter_f, G enter_g => Never;
    A enter_a, B enter_b, C enter_c, D enter_d, E enter_e, F enter_f, G enter_g, H enter_h => ;
}
