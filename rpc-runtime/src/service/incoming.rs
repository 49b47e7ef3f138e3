//! Passes a call to generated code.

use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use futures_core::Stream;

use crate::blocking::{self, NotRun};
use crate::codec::INITIAL_BUFFER_BYTES;
use crate::codec::arena::Arena;
use crate::codec::error_code::ProtocolError;
use crate::codec::id::Id;
use crate::codec::params::decode::{Argument, Arguments, Parameter, Params};
use crate::codec::params::encode::Write;
use crate::codec::parser::{Document, Parser, most_parsed_bytes};
use crate::codec::reply::{Fault, FaultKind, Reply};
use crate::codec::result::Returns;
use crate::codec::ser;
use crate::context::{CallContext, Context};
use crate::memory::{ConnectionMemory, MemoryCharge};
use crate::permit::PermitSlot;
use crate::streaming::exchange::{Exchange, ReadItem, Uploaded};

/// A call that is passed to a handler.
#[derive(Clone, Copy)]
pub struct Incoming<'t, 'de> {
    params: Params<'t, 'de>,
    context: &'t Context,
    /// The exchange of the call's items and the id in their lines. `None` in a batch, without an id, or without a
    /// stream.
    exchange: Option<(&'t Exchange, Id<'de>)>,
    /// The permit of the call, which a blocking handler moves to its thread, and the budget of its connection.
    permit: Option<(&'t PermitSlot, &'t Arc<ConnectionMemory>)>,
    /// The name of the method, if no service has it.
    unknown_method: Option<&'t str>,
}

/// Hides the arguments, which may be secret.
impl fmt::Debug for Incoming<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("context", self.context)
            .finish_non_exhaustive()
    }
}

/// Returns the context of a call.
#[inline]
pub fn context<'t, C: CallContext>(call: &Incoming<'t, '_>) -> &'t C {
    C::of(call.context)
}

impl<'t, 'de> Incoming<'t, 'de> {
    pub(crate) fn new(params: Params<'t, 'de>, context: &'t Context) -> Self {
        Self {
            params,
            context,
            exchange: None,
            permit: None,
            unknown_method: None,
        }
    }

    /// Sets the permit of the call, and the budget of its connection.
    pub(crate) fn with_permit(
        self,
        permit: &'t PermitSlot,
        memory: &'t Arc<ConnectionMemory>,
    ) -> Self {
        Self {
            permit: Some((permit, memory)),
            ..self
        }
    }

    /// Sets the name of the method, if no service has it.
    pub(crate) fn with_unknown_method(self, unknown_method: Option<&'t str>) -> Self {
        Self {
            unknown_method,
            ..self
        }
    }

    pub(crate) fn unknown_method(&self) -> Option<&'t str> {
        self.unknown_method
    }

    /// Sets the exchange of the call's items.
    pub(crate) fn with_items(self, exchange: Option<(&'t Exchange, Id<'de>)>) -> Self {
        Self { exchange, ..self }
    }

    fn exchange(&self) -> Result<(&'t Exchange, Id<'de>), Fault> {
        let message = match self.exchange {
            Some((exchange, id)) if exchange.has_stream() => return Ok((exchange, id)),
            Some(_) => {
                "the method has a stream of items: send the call on a stream (over HTTP, as application/x-ndjson)"
            }
            None => "a call with a stream of items has an id, and stands in no batch",
        };
        Err(ProtocolError::InvalidRequest(message).into())
    }

    /// Returns an error if the call cannot carry items. Checked before the handler runs.
    #[inline]
    pub fn require_stream(&self) -> Result<&Self, Fault> {
        self.exchange().map(|_| self)
    }

    /// Decodes the arguments; surplus arguments are an error.
    #[inline]
    pub fn arguments<A: Arguments<'de>>(&self, parameters: A) -> Result<A::Values, Fault> {
        Ok(parameters.read(self.params)?)
    }

    /// Decodes the arguments; surplus arguments are ignored.
    #[inline]
    pub fn lenient_arguments<A: Arguments<'de>>(&self, parameters: A) -> Result<A::Values, Fault> {
        Ok(parameters.read(self.params.lenient())?)
    }

    /// Decodes the entire `params` as one argument.
    #[inline]
    pub fn entire<P: Parameter<'de>>(&self, parameter: P) -> Result<P::Value, Fault> {
        Ok(self.params.entire(parameter)?)
    }

    pub(crate) fn context(&self) -> &'t Context {
        self.context
    }

    /// Returns the stream of items that the caller sends.
    pub fn items<T>(&self, upload: Upload<T>) -> Result<Uploaded<'t, T>, Fault> {
        let (exchange, id) = self.exchange()?;
        Ok(exchange.items(id, upload.read))
    }

    /// Sends a handler's items to the caller, until the stream ends.
    pub async fn send<S: Stream, O>(
        &self,
        items: S,
        reply: &mut Reply,
        returns: Returns<S::Item, O, Infallible>,
    ) -> Result<(), Fault> {
        let (exchange, id) = self.exchange()?;
        let write = |item, out: &mut Vec<u8>| (returns.write)(&item, out).map(Ok::<_, Infallible>);
        let Ok(()) = exchange.send(id, reply.limit(), items, write).await?;
        Ok(())
    }

    /// Sends a handler's items to the caller, up to the first error.
    pub async fn send_results<S, T, O, E>(
        &self,
        items: S,
        reply: &mut Reply,
        returns: Returns<T, O, E>,
    ) -> Result<(), Fault>
    where
        S: Stream<Item = Result<T, E>>,
    {
        let (exchange, id) = self.exchange()?;
        let write = |item, out: &mut Vec<u8>| match item {
            Ok(item) => (returns.write)(&item, out).map(Ok),
            Err(error) => Ok(Err(error)),
        };
        match exchange.send(id, reply.limit(), items, write).await? {
            Ok(()) => Ok(()),
            Err(error) => reply.result(Err(error), returns),
        }
    }

    /// Counts a large copy of the parameters, and what it takes once it is parsed: a thread holds both until it has
    /// finished, also when its call was cancelled long before.
    fn charge_copy(&self, json: &[u8]) -> Option<MemoryCharge> {
        let (_, memory) = self.permit?;
        let is_large = json.len() > INITIAL_BUFFER_BYTES;
        is_large.then(|| MemoryCharge::new(memory, 2 * json.len() + most_parsed_bytes(json)))
    }

    /// Runs a handler on a thread for blocking work.
    ///
    /// Its arguments cannot borrow from the message, so the thread gets a copy of the parameters as JSON.
    pub async fn blocking<S, F>(
        &self,
        service: &Arc<S>,
        reply: &mut Reply,
        run: F,
    ) -> Result<(), Fault>
    where
        S: Send + Sync + 'static,
        F: for<'a, 'b> FnOnce(&S, &Incoming<'a, 'b>, &mut Reply) -> Result<(), Fault>,
        F: Send + 'static,
    {
        let mut json = self.params.to_json();
        let charge = json.as_deref().and_then(|json| self.charge_copy(json));
        let context = self.context.clone();
        let service = Arc::clone(service);
        let mut answer = reply.take();
        let work = move || {
            let _charge = charge;
            let call = || {
                // The depth was checked when the request was received.
                let (mut parser, arena) = (Parser::new(usize::MAX), Arena::default());
                let document = json.as_mut().map(|json| parser.parse(json)).transpose();
                let mut document = document.map_err(|_| unwritable("its parameters are lost"))?;
                if let Some(document) = &mut document {
                    document.lend(&arena);
                }
                let params = Params::new(document.as_ref().map(Document::root));
                run(&service, &Incoming::new(params, &context), &mut answer)
            };
            let ran = context.with_deadline(|| catch_unwind(AssertUnwindSafe(call)));
            (answer, ran)
        };
        let permit = self.permit.map(|(permit, _)| permit);
        match blocking::run(permit, self.context.deadline(), work).await {
            Ok((answer, ran)) => {
                *reply = answer;
                ran.unwrap_or_else(|panic| resume_unwind(panic))
            }
            Err(NotRun::TimedOut) => Err(ProtocolError::DeadlinePassed.into()),
            Err(NotRun::ShuttingDown) => Err(unwritable("the runtime is shutting down")),
        }
    }
}

/// An argument that is a stream of items: the caller encodes them and the server decodes them.
pub struct Upload<T> {
    pub(crate) write: Write<T>,
    read: ReadItem<T>,
}

/// Describes a stream of `T`. Only this function requires `T` to be an [`Argument`].
pub fn upload<T: for<'de> Argument<'de>>() -> Upload<T> {
    Upload {
        write: ser::write,
        read: |value| T::deserialize(value),
    }
}

fn unwritable(reason: &str) -> Fault {
    Fault(FaultKind::Unwritable(reason.to_owned()))
}
