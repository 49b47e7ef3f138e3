//! The methods of a service, or of several services, as one type, and a future that is any one of theirs.
//!
//! A future of generated code is of a type of its own for each method, and is never boxed. [`OneOf`] holds any of eight,
//! and is one of eight itself where there are more, so that a call passes as many of them as the number of methods has
//! octal digits. A future is started in its place. No function on the way holds a future by value, except the one that
//! starts it, and no function knows more than eight methods. So neither starting nor polling a call takes more stack
//! where there are more methods, also in a build without optimizations, which gives each value of a function its own
//! place in the frame.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use pin_project_lite::pin_project;

use crate::codec::reply::{Fault, FaultKind, Reply};
use crate::service::incoming::Incoming;

/// How each of several methods of an `S` starts: a function, or a tuple of up to eight `Methods`.
///
/// It is about types. Its values are without size.
pub trait Methods<'c, S: 'c>: Send {
    /// How many methods there are. Their numbers are those below.
    const COUNT: u32;

    /// Where their calls run.
    type Slot: MethodSlot;

    /// The size of `Slot`, for which the compiler computes the layout of what is inside first.
    ///
    /// It computes the layout of a type from that of its parts, and is limited in how deep it goes for one that it does
    /// not have yet. Asked for in this order, twenty layers around a service are no deeper than one.
    const SIZE: usize;

    /// Starts a call in `slot`.
    fn start(self, call: MethodCall<'c, S>, slot: Pin<&mut Self::Slot>);
}

/// [`Methods::SIZE`] of what a function returns, whose type has no name.
pub(crate) const fn size<'c, S: 'c, M: Methods<'c, S>>(_: fn() -> M) -> usize {
    M::SIZE
}

/// One call of a method of an `S`.
#[derive(Debug)]
pub struct MethodCall<'c, S> {
    pub(crate) service: &'c S,
    pub(crate) method: u32,
    pub(crate) incoming: &'c Incoming<'c, 'c>,
    pub(crate) reply: &'c mut Reply,
}

impl<'c, S> MethodCall<'c, S> {
    /// The same call, of a service that is a part of this one.
    pub(crate) fn of<P>(self, part: impl FnOnce(&'c S) -> &'c P) -> MethodCall<'c, P> {
        MethodCall {
            service: part(self.service),
            method: self.method,
            incoming: self.incoming,
            reply: self.reply,
        }
    }

    /// A future that starts the call when it is first polled.
    pub(crate) fn run<M: Methods<'c, S>>(self, methods: M) -> Run<'c, S, M, M::Slot> {
        Run {
            start: Some((methods, self)),
            slot: M::Slot::empty(),
        }
    }
}

/// A place for the future of one call.
pub trait MethodSlot: Future<Output = Result<(), Fault>> {
    /// A place in which no call was started. Polled, it says that there is no such method.
    fn empty() -> Self;
}

pin_project! {
    /// A call, from before it is started.
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
    /// The place of one method's future.
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

/// Stands for a method that is not compiled, so that those behind it have the same numbers.
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

/// What is answered where a service has no such method.
fn unknown_method() -> Result<(), Fault> {
    Err(Fault(FaultKind::UnknownMethod))
}

/// What is never there.
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
            /// The place of any one of up to eight calls.
            #[project = Projected]
            pub enum OneOf<$($variant),*> {
                /// None was started.
                Empty,
                $(
                    /// A call runs here.
                    $variant {
                        #[pin]
                        slot: $variant,
                    },
                )*
            }
        }

        impl<$($variant),*> OneOf<$($variant),*> {
            // Each moves an empty place, which is as large as a full one, in a frame that is gone when the call starts.
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

            #[allow(non_snake_case, unused_assignments, unused_mut, unused_variables)] // of the tuple of none
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
