// viem, over HTTP and WebSocket.

import assert from "node:assert/strict";
import { createClient, http, webSocket } from "viem";

const [plain, tls, axum] = process.argv.slice(2);

async function call(client) {
    assert.equal(await client.request({ method: "subtract", params: [42, 23] }), 19);
    await assert.rejects(
        client.request({ method: "fail", params: [7, "no paper", { tray: 2 }] }),
        (error) => error.cause.code === 7 && error.details === "no paper",
    );
    await assert.rejects(
        client.request({ method: "nothing", params: [] }),
        (error) => error.code === -32601,
    );
    const results = await Promise.all(
        Array.from({ length: 50 }, (_, i) => client.request({ method: "echo", params: [i] })),
    );
    assert.deepEqual(results, Array.from({ length: 50 }, (_, i) => i));
}

for (const url of [plain, tls, axum]) {
    await call(createClient({ transport: http(url) }));
    await call(createClient({ transport: http(url, { batch: true }) }));
}

for (const url of [plain, tls, axum]) {
    const client = createClient({ transport: webSocket(url.replace("http", "ws")) });
    await call(client);
    // A stream of three items, its end, and one that the client ends.
    const heads = [];
    await new Promise((resolve, reject) => {
        const onData = (data) => {
            heads.push(data);
            if (data.error) resolve();
        };
        client.transport.subscribe({ params: ["newHeads", 3], onData, onError: reject });
    });
    assert.deepEqual(
        heads.map(({ result, error }) => result ?? error.message),
        [1, 2, 3, "Subscription complete"],
    );

    let ended;
    await new Promise(async (resolve, reject) => {
        const onData = ({ result }) => result === 3 && resolve();
        ended = await client.transport.subscribe({ params: ["ticks", 20], onData, onError: reject });
        assert.match(ended.subscriptionId, /^0x[0-9a-f]+$/);
    });
    assert.equal(await client.request({ method: "clock.open" }), 1);
    assert.equal((await ended.unsubscribe()).result, true);
    while ((await client.request({ method: "clock.open" })) !== 0);

    await assert.rejects(
        client.transport.subscribe({ params: ["logs"], onData() {} }),
        (error) => error.code === -32601,
    );
    await assert.rejects(
        client.transport.subscribe({ params: ["newHeads", "three"], onData() {} }),
        (error) => error.code === -32602,
    );
    (await client.transport.getRpcClient()).close();
}
