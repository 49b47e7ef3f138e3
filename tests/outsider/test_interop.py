"""Tests of PROTOCOL.md with a client that shares no code with the server.

    python test_interop.py 127.0.0.1:4433 cert.pem

The server is the interop example.
"""

import asyncio
import faulthandler
import functools
import json
import logging
import sys
import unittest

from jsonrpc_quic import RpcError, Stream, connect, request

HOST, PORT, CERTIFICATE = "", 0, ""

# The time limits of a test and of all tests, in seconds. The second one prints where a test hangs that ignores the first.
TEST_TIMEOUT = 20
TOTAL_TIMEOUT = 150

# The duration of calls that are cancelled before they end, in milliseconds.
AN_HOUR = 3_600_000

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603
CANCELLED_CALL, DEADLINE_PASSED, REQUEST_TOO_LARGE, REPLY_TOO_LARGE = -32001, -32002, -32007, -32008
BATCH_TOO_LARGE, BATCH_REPLY_TOO_LARGE = -32010, -32011


def dial(**options):
    return connect(HOST, PORT, **{"cafile": CERTIFICATE, **options})


def connected(test):
    """Gives a test its own connection and a time limit."""

    @functools.wraps(test)
    async def run(self):
        async def on_a_connection():
            async with dial() as client:
                await test(self, client)
                self.assertEqual(await client.call("subtract", [42, 23]), 19, "the connection still serves")

        await asyncio.wait_for(on_a_connection(), TEST_TIMEOUT)

    return run


async def converse(client, *messages):
    """Sends messages on one stream, ends the sending half, and returns all replies."""
    stream = Stream(client)
    stream.write(b"".join(messages), last=True)
    return [reply async for reply in until_the_end(stream)]


async def until_the_end(stream):
    while (reply := await stream.receive()) is not None:
        yield reply


def line(message):
    return json.dumps(message).encode() + b"\n"


def outcome(reply):
    """Returns the id of a reply, with the code of its error or its result."""
    return reply["id"], reply["error"]["code"] if "error" in reply else reply["result"]


PING = line(request("rpc.ping", id="ping"))
PONG = ("ping", None)


class Case(unittest.IsolatedAsyncioTestCase):
    def assert_outcomes(self, replies, *expected):
        """Checks the replies, in any order."""
        self.assertCountEqual(map(outcome, replies), expected)


class Calls(Case):
    @connected
    async def test_by_position(self, client):
        self.assertEqual(await client.call("subtract", [42, 23]), 19)
        self.assertEqual(await client.call("subtract", [23, 42]), -19)
        self.assertEqual(await client.call("sum", [1, 2, 4]), 7)

    @connected
    async def test_by_name(self, client):
        self.assertEqual(await client.call("subtract", {"subtrahend": 23, "minuend": 42}), 19)
        self.assertEqual(await client.call("optional", {"c": 3, "a": 1}), [1, None, 3])

    @connected
    async def test_with_parameters_left_out(self, client):
        self.assertEqual(await client.call("optional", [1]), [1, None, None])
        self.assertEqual(await client.call("optional", [1, None, 3]), [1, None, 3])
        self.assertEqual(await client.call("get_data", []), ["hello", 5])
        self.assertEqual(await client.call("get_data", {}), ["hello", 5])
        self.assertEqual(outcome(await client.ask({"jsonrpc": "2.0", "method": "get_data", "id": 1})), (1, ["hello", 5]))

    @connected
    async def test_with_wrong_parameters(self, client):
        for params in [[1], [1, 2, 3], ["1", 2], {"minuend": 1}, {"minuend": 1, "subtrahend": 2, "more": 3}]:
            with self.assertRaises(RpcError) as caught:
                await client.call("subtract", params)
            code, message, data = caught.exception.args
            self.assertEqual((code, message), (INVALID_PARAMS, "Invalid params"))
            self.assertIsInstance(data, str)

    @connected
    async def test_of_an_unknown_method(self, client):
        for method in ["foobar", "", "rpc.item", "rpc.end", "rpc.unheard_of"]:
            self.assertEqual(outcome(await client.ask(request(method, id=1))), (1, METHOD_NOT_FOUND))

    @connected
    async def test_of_rpc_discover_return_the_document(self, client):
        document = await client.call("rpc.discover", [])
        self.assertEqual(document["openrpc"], "1.4.1")
        subtract = next(method for method in document["methods"] if method["name"] == "subtract")
        self.assertEqual([parameter["name"] for parameter in subtract["params"]], ["minuend", "subtrahend"])

    @connected
    async def test_with_any_json_there_and_back(self, client):
        values = ["\"\\/\b\f\n\r\t\u0000\u20ac\U0001f600", -(2**63), 2**64 - 1, 1.5, True, None, {"": [[], {}]}]
        for value in [values, *values]:
            self.assertEqual(await client.call("echo", [value]), value)

    @connected
    async def test_with_every_kind_of_id(self, client):
        for id in ["1", "", "\u00e9\n\"\U0001f600", 0, 7, -1, 2**64 - 1, -(2**63), None]:
            reply = await client.ask(request("subtract", [42, 23], id=id))
            self.assertEqual(reply, {"jsonrpc": "2.0", "id": id, "result": 19})
            self.assertIs(type(reply["id"]), type(id))

    @connected
    async def test_with_an_invalid_id_are_rejected(self, client):
        for id in [1.5, True, [], {}, 2**64]:
            self.assertEqual(outcome(await client.ask(request("get_data", id=id))), (None, INVALID_REQUEST))

    @connected
    async def test_that_fail_return_the_error_of_the_handler(self, client):
        for data in [None, {"fruit": ["pear"]}, 0]:
            with self.assertRaises(RpcError) as caught:
                await client.call("fail", [1001, "out of \"stock\"", data])
            self.assertEqual(caught.exception.args, (1001, "out of \"stock\"", data))

    @connected
    async def test_of_a_handler_that_panics(self, client):
        replies = await converse(client, line(request("panic", id=1)), line(request("get_data", id=2)))
        self.assert_outcomes(replies, (1, INTERNAL), (2, ["hello", 5]))
        self.assertNotIn("data", replies[0]["error"], "what went wrong inside is nobody's business")

    @connected
    async def test_with_a_megabyte_in_reply(self, client):
        self.assertEqual(await client.call("blob", [1 << 20]), "x" * (1 << 20))

    @connected
    async def test_with_a_reply_past_the_limit(self, client):
        with self.assertRaises(RpcError) as caught:
            await client.call("blob", [4 << 20])
        self.assertEqual(caught.exception.args[0], REPLY_TOO_LARGE)

    @connected
    async def test_with_900_kilobytes_in_the_request(self, client):
        self.assertEqual(await client.call("length", ["x\n" * 300_000]), 600_000)

    @connected
    async def test_with_a_deadline(self, client):
        for timeout in [0, 20, 0.5]:
            with self.assertRaises(RpcError) as caught:
                await client.call("sleep", [AN_HOUR], timeout=timeout)
            self.assertEqual(caught.exception.args[0], DEADLINE_PASSED)
        self.assertEqual(await client.call("sleep", [1], timeout=1e300), 1)

    @connected
    async def test_with_members_beyond_the_specification(self, client):
        extra = {"meta": {"traceparent": "00-1"}, "tenant": 7, "result": 1}
        self.assertEqual(await client.call("subtract", [42, 23], **extra), 19)
        for wrong in [{"meta": {"a": 1}}, {"meta": []}, {"timeout": "1"}, {"timeout": None}]:
            self.assertEqual(outcome(await client.ask(request("get_data", id=1, **wrong))), (1, INVALID_REQUEST))

    @connected
    async def test_of_a_slow_method_do_not_block_others(self, client):
        stream = Stream(client)
        stream.send(request("sleep", [AN_HOUR], id="slow"), request("sleep", [1], id="quick"))
        self.assertEqual(outcome(await stream.receive()), ("quick", 1))


class CallsOfTheServer(Case):
    @connected
    async def test_are_answered(self, client):
        async def double(number):
            return 2 * number

        async def twice(number):
            return await client.call("ask", ["double", [await double(number)]])

        client.methods |= {"double": double, "twice": twice}
        self.assertEqual(await client.call("ask", ["double", [21]]), 42)
        self.assertEqual(await client.call("ask", ["double", {"number": 4}]), 8)
        self.assertEqual(await client.call("ask", ["twice", [1]]), 4, "back and forth")

    @connected
    async def test_of_a_method_that_the_client_does_not_have_are_rejected(self, client):
        with self.assertRaises(RpcError) as caught:
            await client.call("ask", ["double", [21]])
        self.assertEqual(caught.exception.args[:2], (METHOD_NOT_FOUND, "Method not found"))


class Notifications(Case):
    @connected
    async def test_are_not_answered(self, client):
        stream = Stream(client)
        stream.send(request("notified", id="before"))
        _, before = outcome(await stream.receive())
        stream.send(request("update", [1, 2, 3]), request("notify_hello", [7]), request("notify_sum", [1, 2, 4]))
        stream.send(request("foobar"), request("update", {"not": "a list"}), request("notified", id="after"), last=True)
        replies = [outcome(reply) async for reply in until_the_end(stream)]
        self.assertEqual(replies, [("after", before + 3)])

    @connected
    async def test_on_a_unidirectional_stream_are_executed(self, client):
        before = await client.call("notified")
        stream = Stream(client, is_unidirectional=True)
        # The call is not executed, because it cannot be answered.
        stream.send(request("update", [1], id=1), request("update", [2]), request("update", [3]), last=True)
        # Streams are not ordered, so later calls on another stream may arrive first.
        while (notified := await client.call("notified")) < before + 2:
            pass
        self.assertEqual(notified, before + 2)

    @connected
    async def test_may_name_a_method_that_has_a_result(self, client):
        self.assertIsNone(await client.ask(request("subtract", [42, 23])))

    @connected
    async def test_with_an_id_are_answered_with_null(self, client):
        self.assertIsNone(await client.call("update", [1]))


class Streams(Case):
    @connected
    async def test_of_items_arrive_in_order(self, client):
        self.assertEqual([item async for item in client.items("count", [1000])], list(range(1, 1001)))
        self.assertEqual([item async for item in client.items("count", {"to": 0})], [])

    @connected
    async def test_of_items_are_lines_of_json(self, client):
        replies = await converse(client, line(request("count", [2], id="c")))
        items = [request("rpc.item", ["c", item]) for item in (1, 2)]
        self.assertEqual(replies, [*items, {"jsonrpc": "2.0", "id": "c", "result": None}])

    @connected
    async def test_that_fail_return_the_error_after_their_items(self, client):
        items = []
        with self.assertRaises(RpcError) as caught:
            async for item in client.items("fail_after", [2]):
                items.append(item)
        self.assertEqual((items, caught.exception.args[0]), ([0, 1], 1))

    @connected
    async def test_of_items_of_the_client_are_read(self, client):
        async def numbers():
            for number in range(1000):
                yield number

        self.assertEqual([total async for total in client.items("total", upload=numbers())], [499500])

    @connected
    async def test_in_both_directions_alternate(self, client):
        names, greetings = asyncio.Queue(), []

        async def up():
            while (name := await names.get()) is not None:
                yield name

        names.put_nowait("Ada")
        async for greeting in client.items("greet", ["Hello"], upload=up()):
            greetings.append(greeting)
            names.put_nowait("B\u00f6b \"\n" if len(greetings) == 1 else None)
        self.assertEqual(greetings, ["Hello, Ada", "Hello, B\u00f6b \"\n"])

    @connected
    async def test_that_are_stopped_end(self, client):
        # If the handlers were not dropped, the connection would reach its limit of calls.
        for _ in range(Cancellation.CALLS + 1):
            forever = client.items("count")
            self.assertEqual(await anext(forever), 1)
            await forever.aclose()

    @connected
    async def test_are_answered_before_the_last_item(self, client):
        stream = Stream(client)
        stream.send(request("first", id=1), request("rpc.item", [1, 7]), request("rpc.item", [1, 8]))
        self.assertEqual(outcome(await stream.receive()), (1, 7))
        self.assertIsNone(await stream.receive())

    @connected
    async def test_that_are_incomplete_are_errors(self, client):
        call, item, end = request("total", id=1), request("rpc.item", [1, 1]), request("rpc.end", [1])
        lines = line(call) + line(item)
        for sent, code in [
            (lines, INVALID_REQUEST),
            (lines + line(end)[:-3], PARSE_ERROR),
            (lines + line(request("rpc.end", [2])), INVALID_REQUEST),
            (lines + line(request("rpc.item", [1, "1"])), INVALID_PARAMS),
            (lines + b"what\n", PARSE_ERROR),
        ]:
            self.assert_outcomes(await converse(client, sent), (1, code))
        self.assert_outcomes(await converse(client, lines + line(end)), (1, 1))

    @connected
    async def test_have_a_deadline(self, client):
        with self.assertRaises(RpcError) as caught:
            async for _ in client.items("count", timeout=50):
                pass
        self.assertEqual(caught.exception.args[0], DEADLINE_PASSED)


class Batches(Case):
    @connected
    async def test_are_answered_as_the_specification_shows(self, client):
        replies = await client.ask([
            request("sum", [1, 2, 4], id="1"),
            request("notify_hello", [7]),
            request("subtract", [42, 23], id="2"),
            {"foo": "boo"},
            request("foo.get", {"name": "myself"}, id="5"),
            request("get_data", id="9"),
            [request("get_data", id="nested")],
        ])
        garbage = (None, INVALID_REQUEST)
        answers = [("1", 7), ("2", 19), ("5", METHOD_NOT_FOUND), ("9", ["hello", 5])]
        self.assert_outcomes(replies, *answers, garbage, garbage)

    @connected
    async def test_of_notifications_are_not_answered(self, client):
        self.assertIsNone(await client.ask([request("update", [1]), request("notify_sum", [1])]))

    @connected
    async def test_that_are_empty_or_have_invalid_entries_are_answered_with_errors(self, client):
        self.assertEqual(outcome(await client.ask([])), (None, INVALID_REQUEST))
        self.assert_outcomes(await client.ask([1, 2]), (None, INVALID_REQUEST), (None, INVALID_REQUEST))

    @connected
    async def test_run_their_entries_concurrently(self, client):
        replies = await client.ask([request("sleep", [1000], id=id) for id in range(100)])
        self.assertEqual(sorted(map(outcome, replies)), [(id, 1000) for id in range(100)])

    @connected
    async def test_past_the_limit_are_not_executed(self, client):
        before = await client.call("notified")
        reply = await client.ask([request("update", [1], id=id) for id in range(101)])
        self.assertEqual(outcome(reply), (None, BATCH_TOO_LARGE))
        self.assertEqual(await client.call("notified"), before)

    @connected
    async def test_with_replies_past_the_limit_lose_those_that_do_not_fit(self, client):
        replies = await client.ask([request("blob", [1_500_000], id=id) for id in range(3)])
        sizes = [reply["error"]["code"] if "error" in reply else len(reply["result"]) for reply in replies]
        self.assertEqual(sorted(sizes), [BATCH_REPLY_TOO_LARGE, 1_500_000, 1_500_000])


class Streams(Case):
    @connected
    async def test_150_at_once_with_one_call_each(self, client):
        calls = (client.ask(request("sleep", [50], id=id)) for id in range(150))
        self.assertEqual([outcome(reply) for reply in await asyncio.gather(*calls)], [(id, 50) for id in range(150)])

    @connected
    async def test_one_with_a_thousand_calls(self, client):
        replies = await converse(client, *(line(request("subtract", [id, 1], id=id)) for id in range(1000)))
        self.assertEqual(sorted(map(outcome, replies)), [(id, id - 1) for id in range(1000)])

    @connected
    async def test_one_with_a_thousand_calls_that_wait(self, client):
        calls = (client.call("sleep", [id % 7]) for id in range(1000))
        self.assertEqual(await asyncio.gather(*calls), [id % 7 for id in range(1000)])

    @connected
    async def test_end_the_last_message(self, client):
        message = line(request("get_data", id=2)).rstrip(b"\n")
        self.assert_outcomes(await converse(client, PING, message), PONG, (2, ["hello", 5]))

    @connected
    async def test_bring_a_message_byte_by_byte(self, client):
        stream = Stream(client)
        for byte in line(request("length", ["\u20ac"], id=1)):
            stream.write(bytes([byte]))
        self.assertEqual(outcome(await stream.receive()), (1, 3))

    @connected
    async def test_bring_several_messages_at_once(self, client):
        messages = [line(request("subtract", [id, 0], id=id)) for id in range(9)]
        self.assertEqual(sorted(map(outcome, await converse(client, *messages))), [(id, id) for id in range(9)])

    @connected
    async def test_without_anything_to_answer_are_finished(self, client):
        for nothing in [b"", b"\n", b" \r\n\n\t", line(request("update", [1])), line([request("update", [1])])]:
            self.assertEqual(await converse(client, nothing), [], nothing)

    @connected
    async def test_end_lines_as_other_systems_do(self, client):
        self.assert_outcomes(await converse(client, PING.replace(b"\n", b"\r\n")), PONG)


class BadMessages(Case):
    async def refused(self, client, code, *messages):
        for message in messages:
            with self.subTest(message[:80]):
                self.assert_outcomes(await converse(client, message + b"\n", PING), (None, code), PONG)

    @connected
    async def test_that_are_not_json(self, client):
        bad = [b'{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', b"[", b"nonsense", b"[1,]", b"'1'"]
        await self.refused(client, PARSE_ERROR, *bad, b"\xff\xfe", b'["\xc3"]', b"\xef\xbb\xbf[]", b"[1e400]")

    @connected
    async def test_that_are_no_requests(self, client):
        await self.refused(
            client,
            INVALID_REQUEST,
            b"1",
            b'"get_data"',
            b"null",
            b"{}",
            b'{"jsonrpc":"2.0","method":1,"params":"bar"}',
            b'{"jsonrpc":"1.0","method":"get_data"}',
            b'{"method":"get_data"}',
            b'{"jsonrpc":"2.0","method":"get_data","params":null}',
            b'{"jsonrpc":"2.0","method":"get_data","method":"panic"}',
            b'{"jsonrpc":"2.0","method":"get_data","id":1,"id":1}',
        )

    @connected
    async def test_with_an_id_are_answered_with_it(self, client):
        for wrong in [{"jsonrpc": "1.0"}, {"method": 1}, {"params": 1}]:
            message = {**request("get_data", id=7), **wrong}
            self.assertEqual(outcome(await client.ask(message)), (7, INVALID_REQUEST))

    @connected
    async def test_that_are_too_large(self, client):
        # The first message is at the limit, without its newline, and the second is one byte longer.
        fits = line(request("length", ["x"], id=1))
        fits = fits.replace(b"x", b"x" * ((1 << 20) + 2 - len(fits)))
        past = fits.replace(b"xx", b"xxx", 1)
        replies = await converse(client, fits, past, PING)
        length = len(fits) - len(line(request("length", [""], id=1)))
        self.assert_outcomes(replies, (1, length), (None, REQUEST_TOO_LARGE), PONG)
        self.assert_outcomes(await converse(client, b"x" * (3 << 20)), (None, REQUEST_TOO_LARGE))

    @connected
    async def test_that_are_too_large_are_answered_with_an_id_in_the_right_place(self, client):
        message = b'{"jsonrpc":"2.0","id":7,"method":"length","params":["' + b"x" * (1 << 20) + b'"]}\n'
        self.assert_outcomes(await converse(client, message, PING), (7, REQUEST_TOO_LARGE), PONG)

    @connected
    async def test_that_are_too_deep(self, client):
        # The request has two levels itself. A value that is sent has at most 125, a message that is received 128.
        deep = request("echo", [functools.reduce(lambda value, _: [value], range(125), 0)], id=1)
        self.assertEqual(outcome(await client.ask(deep)), (1, deep["params"][0]))
        deep["params"] = [[deep["params"]]]
        await self.refused(client, PARSE_ERROR, line(deep))

    @connected
    async def test_that_are_incomplete_are_not_executed(self, client):
        before = await client.call("notified")
        message = line(request("update", [1]))
        for length in range(1, len(message) - 1):
            self.assert_outcomes(await converse(client, message[:length]), (None, PARSE_ERROR))
        self.assertEqual(await client.call("notified"), before)


class Cancellation(Case):
    # The limit of concurrent calls of a connection.
    CALLS = 128

    async def sleeping(self, client, count=1):
        """Returns a stream on which calls sleep."""
        stream = Stream(client)
        stream.send(*(request("sleep", [AN_HOUR], id=id) for id in range(count)))
        # Messages of one stream are started in order, so all calls sleep when this message is answered.
        stream.write(PING)
        self.assertEqual(outcome(await stream.receive()), PONG)
        return stream

    async def all_stop(self, client, cancel):
        """Checks that all calls end. If the handlers were not dropped, the connection would reach its limit of calls in the
        second round."""
        for _ in range(2):
            streams = [await self.sleeping(client, self.CALLS // 4 - 1) for _ in range(4)]
            for stream in streams:
                cancel(stream)
            for stream in streams:
                with self.assertRaises(ConnectionResetError) as caught:
                    await stream.receive()
                self.assertEqual(caught.exception.args, (0x20,))
        self.assertEqual(await client.call("sleep", [1]), 1)

    @connected
    async def test_by_reset(self, client):
        await self.all_stop(client, lambda stream: stream.reset())

    @connected
    async def test_by_stopping_the_replies(self, client):
        await self.all_stop(client, lambda stream: stream.stop())

    @connected
    async def test_by_stopping_the_replies_after_the_last_request(self, client):
        def finish_and_stop(stream):
            stream.write(b"", last=True)
            stream.stop()

        await self.all_stop(client, finish_and_stop)

    @connected
    async def test_by_reset_of_a_stream_whose_next_call_waits_for_a_permit(self, client):
        stream = await self.sleeping(client, self.CALLS)
        stream.send(request("sleep", [1], id="one more"))
        await client.ask(request("rpc.ping", id=1))
        stream.reset()
        with self.assertRaises(ConnectionResetError):
            await stream.receive()

    @connected
    async def test_by_name(self, client):
        stream = await self.sleeping(client, 2)
        stream.send(request("rpc.cancel", [0]))
        self.assertEqual(outcome(await stream.receive()), (0, CANCELLED_CALL))
        stream.send(request("rpc.cancel", {"id": 1}, id="cancel"))
        replies = [await stream.receive(), await stream.receive()]
        self.assert_outcomes(replies, (1, CANCELLED_CALL), ("cancel", None))

    @connected
    async def test_by_name_from_a_unidirectional_stream(self, client):
        stream = await self.sleeping(client)
        Stream(client, is_unidirectional=True).send(request("rpc.cancel", [0]), last=True)
        self.assertEqual(outcome(await stream.receive()), (0, CANCELLED_CALL))

    @connected
    async def test_by_name_does_not_affect_other_streams(self, client):
        stream, other = await self.sleeping(client), await self.sleeping(client)
        other.send(request("rpc.cancel", [0]))
        self.assertEqual(outcome(await other.receive()), (0, CANCELLED_CALL))
        stream.send(request("rpc.cancel", [0]))
        self.assertEqual(outcome(await stream.receive()), (0, CANCELLED_CALL))

    @connected
    async def test_of_a_call_that_does_not_run_has_no_effect(self, client):
        self.assertEqual(outcome(await client.ask(request("rpc.cancel", ["unknown"], id=1))), (1, None))
        self.assertEqual(outcome(await client.ask(request("rpc.cancel", id=1))), (1, INVALID_PARAMS))

    @connected
    async def test_by_a_task_that_is_cancelled(self, client):
        for call in [client.call("sleep", [AN_HOUR]), client.ask(request("sleep", [AN_HOUR], id=1))]:
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(call, 0.05)

    @connected
    async def test_of_a_stream_in_the_middle_of_a_message(self, client):
        stream = Stream(client)
        stream.write(PING + line(request("update", [1]))[:-1])
        self.assertEqual(outcome(await stream.receive()), PONG)
        before = await client.call("notified")
        stream.reset()
        with self.assertRaises(ConnectionResetError):
            await stream.receive()
        self.assertEqual(await client.call("notified"), before)


class Handshakes(Case):
    async def refused(self, code, **options):
        async def attempt():
            async with dial(**options):
                pass

        with self.assertRaises(ConnectionError) as caught:
            await asyncio.wait_for(attempt(), TEST_TIMEOUT)
        self.assertEqual(caught.exception.args[0], code, caught.exception)

    # QUIC adds 0x100 to the codes of TLS alerts.
    NO_APPLICATION_PROTOCOL, BAD_CERTIFICATE = 0x178, 0x12A

    async def test_for_another_protocol_are_refused(self):
        await self.refused(self.NO_APPLICATION_PROTOCOL, alpn="jsonrpc/2")

    async def test_for_no_protocol_are_refused(self):
        await self.refused(self.NO_APPLICATION_PROTOCOL, alpn=None)

    async def test_with_an_untrusted_server_fail(self):
        await self.refused(self.BAD_CERTIFICATE, cafile=None)

    async def test_with_a_server_of_another_name_fail(self):
        await self.refused(self.BAD_CERTIFICATE, server_name="example.org")


if __name__ == "__main__":
    address, CERTIFICATE = sys.argv.pop(1), sys.argv.pop(1)
    HOST, _, PORT = address.rpartition(":")
    HOST, PORT = HOST.strip("[]"), int(PORT)
    logging.disable()  # the tests cause failed handshakes
    faulthandler.dump_traceback_later(TOTAL_TIMEOUT, exit=True)
    unittest.main()
