"""A small client for JSON-RPC 2.0 over QUIC, as PROTOCOL.md describes it, to copy and to change.

    async with connect("127.0.0.1", 4433, cafile="cert.pem") as client:
        print(await client.call("subtract", [42, 23]))
"""

import asyncio
import itertools
import json
from contextlib import asynccontextmanager, suppress

from aioquic.asyncio import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection


class RpcError(Exception):
    """The error object of a response: code, message and data."""


def request(method, params=(), **members):
    """Returns a call if `members` has an `id`, and otherwise a notification."""
    return {"jsonrpc": "2.0", **members, "method": method, "params": params}


class Stream:
    """A QUIC stream, which sends requests and, unless it is unidirectional, receives replies."""

    def __init__(self, client, is_unidirectional=False, id=None):
        self._quic, self._transmit = client._quic, client.transmit
        self.replies = asyncio.StreamReader(limit=4 << 20)
        if id is None:
            id = self._quic.get_next_available_stream_id(is_unidirectional)
            self._quic.send_stream_data(id, b"")  # aioquic repeats an id until it is used
        self.id = id
        client._streams[self.id] = self

    def send(self, *messages, last=False):
        """Sends messages. With `last`, ends the sending half after them."""
        self.write("".join(json.dumps(message) + "\n" for message in messages).encode(), last)

    def write(self, data, last=False):
        self._quic.send_stream_data(self.id, data, end_stream=last)
        self._transmit()

    def reset(self, code=0x20):
        """Resets the sending half, which cancels all calls of the stream."""
        self._quic.reset_stream(self.id, code)
        self._transmit()

    def stop(self, code=0x20):
        """Stops the receiving half, which also cancels all calls of the stream."""
        self._quic.stop_stream(self.id, code)
        self._transmit()

    async def receive(self):
        """Returns the next reply, or `None` once the server has ended the stream."""
        line = await self.replies.readline()
        return json.loads(line) if line else None


class Client(QuicConnectionProtocol):
    """A connection. Calls share one stream. `ask` sends one message on a dedicated stream."""

    def __init__(self, quic):
        super().__init__(quic)
        self._shared_stream = self._delivery = self.lost = None
        self._streams, self._waiting, self._ids = {}, {}, itertools.count(1)
        self.methods = {}  # coroutine functions that the server may call, by name

    async def call(self, method, params=(), **members):
        """Calls a method and returns the result. Cancelling the task cancels the call."""
        if self._delivery is None or self._delivery.done():
            self._shared_stream = Stream(self)
            self._delivery = asyncio.ensure_future(self._deliver(self._shared_stream))
        stream, call_id = self._shared_stream, next(self._ids)
        self._waiting[call_id] = waiting = asyncio.get_running_loop().create_future()
        stream.send(request(method, params, id=call_id, **members))
        try:
            reply = await waiting
        except asyncio.CancelledError:
            stream.send(request("rpc.cancel", [call_id]))
            raise
        finally:
            del self._waiting[call_id]
        if error := reply.get("error"):
            raise RpcError(error["code"], error["message"], error.get("data"))
        return reply["result"]

    async def ask(self, message):
        """Sends one message, which may be a batch, on a dedicated stream. Returns the reply, or `None` if there is none."""
        stream = Stream(self)
        stream.send(message, last=True)
        try:
            return await stream.receive()
        except asyncio.CancelledError:
            stream.stop()
            raise

    async def items(self, method, params=(), upload=None, **members):
        """Yields the items of a response stream, or the result of the method. `upload` yields the items of the request
        stream. Raises an error if the response stream is incomplete."""
        stream = Stream(self)
        sending = asyncio.ensure_future(self._send(stream, request(method, params, id=0, **members), upload))
        try:
            while (line := await stream.receive()) and line.get("method") == "rpc.item":
                yield line["params"][1]
        except (asyncio.CancelledError, GeneratorExit):
            stream.stop()
            raise
        finally:
            sending.cancel()
        if line is None:
            raise ConnectionError("the stream was cut off")
        if error := line.get("error"):
            raise RpcError(error["code"], error["message"], error.get("data"))
        if line["result"] is not None:
            yield line["result"]

    async def _send(self, stream, call, upload):
        stream.send(call, last=upload is None)
        if upload is not None:
            async for item in upload:
                stream.send(request("rpc.item", [call["id"], item]))
            stream.send(request("rpc.end", [call["id"]]), last=True)

    async def _deliver(self, stream):
        """Passes each reply to the call with its id. Replies arrive in any order."""
        try:
            while reply := await stream.receive():
                waiting = self._waiting.get(reply["id"])
                if waiting and not waiting.done():
                    waiting.set_result(reply)
            raise ConnectionError("the server is shutting down and did not execute the call")
        except Exception as ended:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ended)

    async def _serve(self, stream):
        """Answers the calls on a stream that the server has opened, until the stream ends."""
        with suppress(ConnectionError):
            while asked := await stream.receive():
                asyncio.ensure_future(self._answer(stream, **asked))

    async def _answer(self, stream, method, params=(), **members):
        reply = {"jsonrpc": "2.0", "id": members.get("id")}
        if called := self.methods.get(method):
            reply["result"] = await (called(**params) if isinstance(params, dict) else called(*params))
        else:
            reply["error"] = {"code": -32601, "message": "Method not found"}
        if "id" in members:
            stream.send(reply)

    async def _keep_alive(self):
        with suppress(ConnectionError):
            while await asyncio.sleep(5, True):
                await self.ping()

    def quic_event_received(self, event):
        stream_id = getattr(event, "stream_id", 0)
        stream = self._streams.get(stream_id)
        if stream is None and stream_id & 1 and isinstance(event, events.StreamDataReceived):
            stream = Stream(self, id=stream_id)  # streams that the server opens have odd ids
            asyncio.ensure_future(self._serve(stream))
        if isinstance(event, events.ConnectionTerminated):
            self.lost = ConnectionError(event.error_code, event.reason_phrase)
            for stream in self._streams.values():
                stream.replies.set_exception(self.lost)
        elif stream and isinstance(event, events.StreamDataReceived):
            stream.replies.feed_data(event.data)
            if event.end_stream:
                self._streams.pop(stream.id).replies.feed_eof()
        elif stream and isinstance(event, events.StreamReset):
            self._streams.pop(stream.id).replies.set_exception(ConnectionResetError(event.error_code))


@asynccontextmanager
async def connect(host, port, cafile=None, server_name=None, alpn="jsonrpc/1"):
    """Connects. Trusts the certificates in `cafile`, or without it the public authorities."""
    configuration = QuicConfiguration(cafile=cafile, server_name=server_name or host, idle_timeout=15)
    configuration.alpn_protocols = alpn and [alpn]
    transport, client = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Client(QuicConnection(configuration=configuration)), remote_addr=(host, port)
    )
    pings = asyncio.ensure_future(client._keep_alive())
    try:
        client.connect(transport.get_extra_info("peername"))
        await client.wait_connected()
        yield client
    except ConnectionError as error:
        raise client.lost or error
    finally:
        pings.cancel()
        client.close()
        await client.wait_closed()
        transport.close()
