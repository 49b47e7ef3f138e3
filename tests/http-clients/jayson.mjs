// jayson, over HTTP, HTTPS and WebSocket.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import jayson from "jayson/promise/index.js";

const [plain, tls, axum, certificate] = process.argv.slice(2);

function http(url) {
    const { hostname: host, port, pathname: path, protocol } = new URL(url);
    const options = { host, port, path, version: 2 };
    if (protocol === "http:") return jayson.client.http(options);
    return jayson.client.https({ ...options, ca: readFileSync(certificate) });
}

async function call(client) {
    let reply = await client.request("subtract", [42, 23]);
    assert.equal(reply.result, 19);
    reply = await client.request("subtract", { subtrahend: 23, minuend: 42 });
    assert.equal(reply.result, 19);
    reply = await client.request("echo", ["ä\n\u{1f600}"]);
    assert.equal(reply.result, "ä\n\u{1f600}");

    reply = await client.request("fail", [7, "no paper", { tray: 2 }]);
    assert.deepEqual(reply.error, { code: 7, message: "no paper", data: { tray: 2 } });
    reply = await client.request("nothing", []);
    assert.equal(reply.error.code, -32601);

    const before = (await client.request("notified", [])).result;
    const sent = client.request("update", [1, 2], null);
    while ((await client.request("notified", [])).result === before);

    const batch = [
        client.request("subtract", [5, 3], undefined, false),
        client.request("fail", [7, "no paper"], undefined, false),
        client.request("update", [1], null, false),
    ];
    const replies = await client.request(batch);
    assert.equal(replies.length, 2);
    assert.equal(replies.find(({ id }) => id === batch[0].id).result, 2);
    assert.equal(replies.find(({ id }) => id === batch[1].id).error.code, 7);
    return sent;
}

for (const url of [plain, tls, axum]) {
    const client = http(url);
    assert.equal(await call(client), undefined);
    const replies = await Promise.all(
        Array.from({ length: 50 }, (_, i) => client.request("sleep", [i % 5])),
    );
    replies.forEach(({ result }, i) => assert.equal(result, i % 5));
}

for (const url of [plain, axum]) {
    const client = jayson.client.websocket({ url: url.replace("http", "ws") });
    await new Promise((resolve) => client.ws.on("open", resolve));
    await call(client);
    client.ws.close();
}
