"""httpx and websockets, with the messages of jsonrpcclient."""

import asyncio
import json
import ssl
import sys

import httpx
import websockets
from jsonrpcclient import Error, Ok, notification, parse, request

PLAIN, TLS, AXUM, CERTIFICATE = sys.argv[1:]
SSL = ssl.create_default_context(cafile=CERTIFICATE)


def calls(client: httpx.Client, url: str) -> None:
    def post(message):
        return client.post(url, json=message)

    reply = post(request("subtract", [42, 23]))
    assert reply.status_code == 200
    assert parse(reply.json()).result == 19
    assert parse(post(request("subtract", {"subtrahend": 23, "minuend": 42})).json()).result == 19
    assert parse(post(request("echo", ["ä\n"])).json()).result == "ä\n"

    failed = parse(post(request("fail", [7, "no paper", {"tray": 2}])).json())
    assert isinstance(failed, Error)
    assert (failed.code, failed.message, failed.data) == (7, "no paper", {"tray": 2})

    before = parse(post(request("notified")).json()).result
    reply = post(notification("update", [1, 2]))
    assert (reply.status_code, reply.content) == (204, b"")
    assert parse(post(request("notified")).json()).result == before + 1

    replies = parse(post([request("subtract", [5, 3]), notification("update", [1]), request("nothing")]).json())
    good, bad = replies
    assert isinstance(good, Ok) and good.result == 2
    assert isinstance(bad, Error) and bad.code == -32601

    # A body without a length.
    chunks = (part.encode() for part in json.dumps(request("length", ["x" * 100_000])).split("jsonrpc"))
    parts = [part for chunk in chunks for part in (chunk, b"jsonrpc")][:-1]
    headers = {"content-type": "application/json"}
    reply = client.post(url, content=iter(parts), headers=headers)
    assert parse(reply.json()).result == 100_000, reply.text

    reply = post(request("length", ["x" * (2 << 20)]))
    assert reply.status_code == 413, reply


def streams(client: httpx.Client, url: str) -> None:
    line = json.dumps(request("count", [3])) + "\n"
    headers = {"content-type": "application/x-ndjson"}
    with client.stream("POST", url, content=line, headers=headers) as reply:
        lines = [json.loads(line) for line in reply.iter_lines()]
    assert [line["params"][1] for line in lines[:-1]] == [1, 2, 3]
    assert lines[-1]["result"] is None

    headers = {"accept": "text/event-stream"}
    with client.stream("POST", url, json=request("count", [3]), headers=headers) as reply:
        assert reply.headers["content-type"] == "text/event-stream"
        events = [line for line in reply.iter_lines() if line.startswith("data:")]
    assert len(events) == 4

    # The first items arrive while the stream goes on.
    headers = {"content-type": "application/x-ndjson"}
    line = json.dumps(request("clock.ticks", [1])) + "\n"
    with client.stream("POST", url, content=line, headers=headers) as reply:
        for count, _ in enumerate(reply.iter_lines()):
            if count == 10:
                break


async def websocket(url: str) -> None:
    context = SSL if url.startswith("wss") else None
    async with websockets.connect(url, ssl=context, subprotocols=["jsonrpc-1"]) as socket:
        assert socket.subprotocol == "jsonrpc-1"
        await socket.send(json.dumps(request("subtract", [42, 23])))
        assert parse(json.loads(await socket.recv())).result == 19
        # One message in three frames.
        text = json.dumps(request("echo", ["ä"]), ensure_ascii=False)
        await socket.send([text[:10], text[10:20], text[20:]])
        assert parse(json.loads(await socket.recv())).result == "ä"
        await (await socket.ping())
        await socket.send(json.dumps(request("ask", ["name", []])))
        asked = json.loads(await socket.recv())
        assert asked["method"] == "name"
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": "Ada"}))
        assert parse(json.loads(await socket.recv())).result == "Ada"
    assert socket.close_code == 1000


for url, http2, version in [
    (PLAIN, False, "HTTP/1.1"),
    (TLS, False, "HTTP/1.1"),
    (TLS, True, "HTTP/2"),
    (AXUM, False, "HTTP/1.1"),
]:
    with httpx.Client(http2=http2, verify=SSL, trust_env=False) as client:
        assert client.get(url).http_version == version
        calls(client, url)
        streams(client, url)

for url in [PLAIN, TLS, AXUM]:
    asyncio.run(websocket(url.replace("http", "ws", 1)))
