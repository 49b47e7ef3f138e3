"""JSON-RPC 2.0 over QUIC, as PROTOCOL.md has it: a small client to copy and to change.

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
    """A call was answered with this code, this message and this data."""


def request(method, params=(), **members):
    """A call, if `members` has an `id`; a notification otherwise."""
    return {"jsonrpc": "2.0", **members, "method": method, "params": params}


class Stream:
    """A QUIC stream: requests leave on it, and replies come back unless it is unidirectional."""

    def __init__(self, client, is_unidirectional=False, id=None):
        self._quic, self._transmit = client._quic, client.transmit
        self.replies = asyncio.StreamReader(limit=4 << 20)
        if id is None:
            id = self._quic.get_next_available_stream_id(is_unidirectional)
            self._quic.send_stream_data(id, b"")  # aioquic repeats an id until it is used
        self.id = id
        client._streams[self.id] = self

    def send(self, *messages, last=False):
        """Sends messages; nothing follows the `last` ones."""
        self.write("".join(json.dumps(message) + "\n" for message in messages).encode(), last)

    def write(self, data, last=False):
        self._quic.send_stream_data(self.id, data, end_stream=last)
        self._transmit()

    def reset(self, code=0x20):
        """Takes back what was sent: all calls of the stream are cancelled."""
        self._quic.reset_stream(self.id, code)
        self._transmit()

    def stop(self, code=0x20):
        """Declines the replies, which cancels all calls of the stream too."""
        self._quic.stop_stream(self.id, code)
        self._transmit()

    async def receive(self):
        """The next reply; `None` once the server has finished the stream."""
        line = await self.replies.readline()
        return json.loads(line) if line else None


class Client(QuicConnectionProtocol):
    """A connection. Small calls share one stream, `ask` opens one for a single message."""

    def __init__(self, quic):
        super().__init__(quic)
        self._lane = self._delivery = self.lost = None
        self._streams, self._waiting, self._ids = {}, {}, itertools.count(1)
        self.methods = {}  # coroutine functions that the server may call, by their names

    async def call(self, method, params=(), **members):
        """Calls a method; cancelling the task cancels the call."""
        if self._delivery is None or self._delivery.done():
            self._lane = Stream(self)
            self._delivery = asyncio.ensure_future(self._deliver(self._lane))
        lane, call_id = self._lane, next(self._ids)
        self._waiting[call_id] = waiting = asyncio.get_running_loop().create_future()
        lane.send(request(method, params, id=call_id, **members))
        try:
            reply = await waiting
        except asyncio.CancelledError:
            lane.send(request("rpc.cancel", [call_id]))
            raise
        finally:
            del self._waiting[call_id]
        if error := reply.get("error"):
            raise RpcError(error["code"], error["message"], error.get("data"))
        return reply["result"]

    async def ask(self, message):
        """Sends one message, a batch perhaps, on a stream of its own; `None` if it is not answered."""
        stream = Stream(self)
        stream.send(message, last=True)
        try:
            return await stream.receive()
        except asyncio.CancelledError:
            stream.stop()
            raise

    async def items(self, method, params=(), upload=None, **members):
        """The items that a method answers with, or else its result; `upload` yields those that it takes. Raises unless all
        of them came."""
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

    async def _deliver(self, lane):
        """Hands replies to those who wait for them. Their order says nothing; ids do."""
        try:
            while reply := await lane.receive():
                waiting = self._waiting.get(reply["id"])
                if waiting and not waiting.done():
                    waiting.set_result(reply)
            raise ConnectionError("the server is shutting down and did not execute the call")
        except Exception as ended:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(ended)

    async def _serve(self, stream):
        """Answers what the server asks on a stream that it has opened, until it ends it."""
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
            stream = Stream(self, id=stream_id)  # the server's streams have odd ids
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
    """Connects. `cafile` holds the certificates to trust; without it the public authorities are."""
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
