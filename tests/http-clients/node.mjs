// fetch and WebSocket, as Node has them.

import assert from "node:assert/strict";
import { WebSocket as PackagedWebSocket } from "ws";

const [plain, tls, axum] = process.argv.slice(2);
// Node has its own since version 22, and behind a flag since version 20.
const sockets = [globalThis.WebSocket, PackagedWebSocket].filter(Boolean);

const post = (url, body, headers = {}) =>
    fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
    });

for (const url of [plain, tls, axum]) {
    let response = await post(url, { jsonrpc: "2.0", id: 1, method: "subtract", params: [42, 23] });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.deepEqual(await response.json(), { jsonrpc: "2.0", id: 1, result: 19 });

    response = await post(url, { jsonrpc: "2.0", method: "update", params: [1] });
    assert.equal(response.status, 204);
    assert.equal(await response.text(), "");

    const call = { jsonrpc: "2.0", id: 1, method: "notified" };
    response = await post(url, call, { "content-type": "text/plain" });
    assert.equal(response.status, 415);
    response = await fetch(url);
    assert.equal(response.status, 405);
    response = await post(url, "x".repeat(2 << 20));
    assert.equal(response.status, 413);
    response = await post(url, call, { origin: "https://other.example" });
    assert.equal(response.status, 403);

    // A request that is aborted does not disturb the others.
    const abort = new AbortController();
    const aborted = fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "sleep", params: [60000] }),
        signal: abort.signal,
    });
    abort.abort();
    await assert.rejects(aborted);
    assert.equal((await post(url, call)).status, 200);
}

// Items, in lines and as server-sent events.
for (const url of [plain, tls, axum]) {
    const call = { jsonrpc: "2.0", id: 1, method: "count", params: [3] };
    let response = await post(url, JSON.stringify(call) + "\n", {
        "content-type": "application/x-ndjson",
    });
    const lines = (await response.text()).trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(
        lines.map(({ params, result }) => params?.[1] ?? result),
        [1, 2, 3, null],
    );
    response = await post(url, call, { accept: "text/event-stream" });
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    const events = (await response.text()).split("\n").filter((line) => line.startsWith("data:"));
    assert.equal(events.length, 4);
    assert.deepEqual(JSON.parse(events[3].slice(5)), { jsonrpc: "2.0", id: 1, result: null });
}

async function exchange(WebSocket, url, protocols) {
    const socket = new WebSocket(url.replace("http", "ws"), protocols);
    await new Promise((resolve, reject) => {
        socket.onopen = resolve;
        socket.onerror = reject;
    });
    assert.equal(socket.protocol, protocols[0] ?? "");
    const received = [];
    const done = new Promise((resolve, reject) => {
        socket.onclose = reject;
        socket.onmessage = ({ data }) => {
            const message = JSON.parse(data);
            received.push(message);
            if (message.method === "name") {
                // A call of the server.
                socket.send(JSON.stringify({ jsonrpc: "2.0", id: message.id, result: "Ada" }));
            }
            if (message.id === "last") resolve();
        };
    });
    const send = (id, method, params) =>
        socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
    send("a", "subtract", [42, 23]);
    send("b", "ask", ["name", []]);
    send("c", "total", []);
    send(undefined, "rpc.item", ["c", 19]);
    send(undefined, "rpc.item", ["c", 23]);
    send(undefined, "rpc.end", ["c"]);
    send("d", "count", [2]);
    send("last", "sleep", [200]);
    await done;
    const result = (id) => received.find((message) => message.id === id && !message.method);
    assert.equal(result("a").result, 19);
    assert.equal(result("b").result, "Ada");
    assert.equal(result("c").result, 42);
    const items = received.filter(({ method }) => method === "rpc.item");
    assert.deepEqual(
        items.map(({ params }) => params),
        [["d", 1], ["d", 2]],
    );
    const closed = new Promise((resolve) => (socket.onclose = resolve));
    socket.close(1000);
    assert.equal((await closed).code, 1000);
}

for (const WebSocket of sockets) {
    for (const url of [plain, tls, axum]) {
        for (const protocols of [[], ["jsonrpc-1"]]) await exchange(WebSocket, url, protocols);
    }
}
