// @open-rpc/client-js, over HTTP and WebSocket.

import assert from "node:assert/strict";
import { Client, HTTPTransport, RequestManager, WebSocketTransport } from "@open-rpc/client-js";
import { WebSocket } from "ws";

const [plain, tls, axum] = process.argv.slice(2);
globalThis.WebSocket ??= WebSocket;

for (const url of [plain, tls, axum]) {
    for (const open of [
        () => new HTTPTransport(url),
        // It has to be used at once, or it misses that the socket is open.
        () => new WebSocketTransport(url.replace("http", "ws")),
    ]) {
        const client = new Client(new RequestManager([open()]));
        assert.equal(await client.request({ method: "subtract", params: [42, 23] }), 19);
        const named = { subtrahend: 23, minuend: 42 };
        assert.equal(await client.request({ method: "subtract", params: named }), 19);
        await assert.rejects(
            client.request({ method: "fail", params: [7, "no paper", { tray: 2 }] }),
            ({ code, message, data }) => code === 7 && message === "no paper" && data.tray === 2,
        );
        const before = await client.request({ method: "notified", params: [] });
        await client.notify({ method: "update", params: [1, 2] });
        while ((await client.request({ method: "notified", params: [] })) === before);

        client.startBatch();
        const calls = [5, 6, 7].map((n) => client.request({ method: "subtract", params: [n, 3] }));
        client.stopBatch();
        assert.deepEqual(await Promise.all(calls), [2, 3, 4]);
        client.close();
    }
}
