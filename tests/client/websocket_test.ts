/** A server of WebSockets that lies, stalls and floods: each time there is a clear end (RFC 6455). */
import { test } from "node:test";
import { Buffer } from "node:buffer";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type Client, connect, type ConnectOptions, connectWorker } from "../../mod.ts";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { type Action, close, end, reset, send, sleep, startScripted } from "../support/scripted.ts";
import { agreed, closeFrame, frame, frames, hear, until, upgrade } from "../support/websocket.ts";
import { endsToo, failure, gone, Inbox, within } from "./support.ts";
import {
  accepted,
  concat,
  CONNACK,
  CONNECT,
  DISCONNECT,
  latin1,
  open,
  publish,
  trickle,
  whole,
  withServer,
} from "./websocket_scene.ts";

// ---- what is asked, and answered

test("[MQTT-6.0.0-1] [MQTT-6.0.0-3] [MQTT5-6.0.0-1] [MQTT5-6.0.0-3] section 4.1: the request has what it must, path, query and headers as they were given", async () => {
  const script = [...accepted, frames(2), send(closeFrame(1000)), endsToo];
  await withServer(script, async (server, op) => {
    const url = `ws://user:pass%20word@127.0.0.1:${server.port}/a/b?sig=A%2Fb+c`;
    const headers = { Authorization: "Bearer ä", Cookie: ["a=1", "b=2"] };
    const client = await connect(url, undefined, { ...op, headers });
    await client.disconnect();
    const { request, frames } = hear(server.received());
    const [first, ...lines] = request!.split("\r\n").slice(0, -2);
    assertEquals(first, "GET /a/b?sig=A%2Fb+c HTTP/1.1");
    const key = lines.find((line) => line.startsWith("Sec-WebSocket-Key: "))!;
    assertEquals(Buffer.from(key.slice(19), "base64").length, 16);
    assertEquals(lines.filter((line) => line !== key), [
      `Host: 127.0.0.1:${server.port}`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Protocol: mqtt",
      "Authorization: Bearer ä",
      "Cookie: a=1",
      "Cookie: b=2",
    ]);
    // The URL's user is MQTT's.
    const connected = latin1("\x10\x1f\0\x04MQTT\x04\xc2\0\0\0\x02ID\0\x04user\0\x09pass word");
    assertEquals(frames.map(({ opcode, payload }) => [opcode, payload.join()]), [
      [2, connected.join()],
      [2, DISCONNECT.join()],
      [8, "3,232"],
    ]);
    assert(frames.every(({ masked, last }) => masked && last), "section 5.1: all are masked");
  });
});

test("section 5.3: masks, and the keys of requests, are new each time", async () => {
  await withServer([...accepted, frames(42), send(closeFrame(1000)), endsToo], async (server, op) => {
    const keys = new Set<string>(), masks = new Set<string>();
    for (let i = 0; i < 2; i++) {
      const client = await open(op);
      for (let n = 0; n < 40; n++) {
        await client.publish("t", "x");
        await new Promise((resolve) => setTimeout(resolve));
      }
      await client.disconnect();
      const all = Buffer.from((await server.peer(i)).received());
      const { request, frames } = hear(all);
      keys.add(/Sec-WebSocket-Key: (.*)\r/.exec(request!)![1]!);
      let at = request!.length;
      for (const { payload } of frames) {
        masks.add(all.subarray(at + 2, at + 6).toString("hex"));
        at += 6 + payload.length;
      }
      assertEquals(all.length, at);
    }
    assertEquals(keys.size, 2);
    assert(masks.size > 80, `${masks.size} masks`);
  });
});

/** Waits for the request. */
const asked: Action = (peer) => until(peer, ({ request }) => request !== undefined);
/** A good answer, but for a change. */
const changed = (change: (lines: string[]) => string[]): Action => upgrade(change);

/** Whatever a server answers, what the error says. */
const refusals: [what: string, answer: Action, RegExp][] = [
  ["401", send("HTTP/1.1 401 Unauthorized\r\n\r\n"), /401 "Unauthorized": it wants to know who asks.*Authorization/],
  [
    "403",
    send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
    /403 "Forbidden": it does not let this client in/,
  ],
  ["404", send("HTTP/1.1 404 Not Found\r\n\r\n"), /404 .*nothing at the path.*\/mqtt/],
  [
    "302 says where to, without its query",
    send("HTTP/1.1 302 Found\r\nLocation: https://h/login?token=secret\r\n\r\n"),
    /302 "Found": it sends the client on to "https:\/\/h\/login"; connect there/,
  ],
  ["a redirect to nowhere", send("HTTP/1.1 307 \r\n\r\n"), /307: it sends the client on; connect there/],
  ["200", send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"), /200 "OK": it is a web server's page/],
  ["a status without a text", send("HTTP/1.1 503\r\n\r\n"), /503: it is unavailable/],
  ["another status", send("HTTP/1.1 418 I'm a teapot\r\n\r\n"), /418 "I'm a teapot": is it a server of MQTT/],
  ["a text that does something to a terminal", send("HTTP/1.1 500 \x1b[2Ja\r\n\r\n"), /500 "\\u001b\[2Ja"/],
  ["a text without an end", send(`HTTP/1.1 500 ${"x".repeat(9999)}\r\n\r\n`), /x{200}\.\.\."/],
  ["MQTT", send(CONNACK), /it does not speak HTTP/],
  ["an alert of TLS", send([0x15, 3, 3, 0, 2, 2, 70]), /it does not speak HTTP.*wss:/],
  ["a status that is none", send("HTTP/1.1 1o1 x\r\n\r\n"), /its answer is none of HTTP/],
  ["HTTP/2", send("HTTP/2 101\r\n\r\n"), /does not speak HTTP/],
  [
    "a header that does not end",
    send(`HTTP/1.1 101 x\r\n${"a: b\r\n".repeat(5000)}`),
    /header of its answer does not end/,
  ],
  ["a line that is no header", changed((lines) => [...lines, "nonsense"]), /a line that is no header: "nonsense"/],
  [
    "no Upgrade",
    changed((lines) => lines.filter((line) => !line.startsWith("Upgrade"))),
    /does not change to WebSocket/,
  ],
  ["another Upgrade", changed((lines) => lines.map((line) => line.replace("websocket", "h2c"))), /upgrade is "h2c"/],
  [
    "no Connection",
    changed((lines) => lines.filter((line) => !line.startsWith("Conn"))),
    /does not change the connection/,
  ],
  ["no Accept", changed((lines) => lines.filter((line) => !line.includes("Accept"))), /not the answer to this request/],
  ["a wrong Accept", changed((lines) => lines.map((line) => line.replace(/(Accept: ).*/, "$1abc"))), /accept is "abc"/],
  ["two Accepts", changed((lines) => [...lines, lines[3]!]), /not the answer to this request/],
  [
    "an extension",
    changed((lines) => [...lines, "Sec-WebSocket-Extensions: permessage-deflate"]),
    /uses what nobody asked for/,
  ],
  ["no subprotocol", changed((lines) => lines.slice(0, -1)), /has chosen no subprotocol.*\[MQTT-6\.0\.0-4\]/],
  ["another subprotocol", changed((lines) => lines.map((line) => line.replace("mqtt", "mqttv3.1"))), /"mqttv3\.1"/],
  ["nothing, and closes", close, /closed the connection without an answer.*wss:/],
  ["nothing, and sends FIN", end, /closed the connection without an answer/],
  ["nothing, and resets", reset, /closed the connection without an answer/],
  ["half a header, and closes", async (peer) => (await send("HTTP/1.1 101 S")(peer), close(peer)), /without an answer/],
];

for (const [what, answer, message] of refusals) {
  test(`section 4.1: the answer is ${what}: "cannotconnect"`, async () => {
    const script = [asked, answer];
    await withServer(script, async (server, op) => {
      const error = await failure(open({ ...op, passwd: "hunter2", uname: "u", headers: { a: "hunter2" } }));
      assertEquals(error.code, "cannotconnect", error.message);
      assertMatch(error.message, message);
      assertStringIncludes(error.message, `Cannot open a WebSocket to 127.0.0.1:${server.port}: `);
      assert(!`${error.message}${error.stack}`.includes("hunter2") && !error.message.includes("secret"), error.message);
      await gone(await server.peer());
      assertEquals(hear(server.received()).frames.filter(({ opcode }) => opcode < 8), [], "no byte of MQTT was sent");
    });
  });
}

test("a server that never answers, or byte by byte for ever, has the one deadline", async () => {
  const drip: Action = trickle(latin1(`HTTP/1.1 101 x\r\n${"a: b\r\n".repeat(1000)}`));
  for (const script of [[asked], [asked, drip], [asked, send("HTTP/1.1 101 x\r\n")], [upgrade()]]) {
    await withServer(script, async (_, op) => {
      const start = performance.now();
      assertEquals((await failure(open({ ...op, timeout: 300 }))).code, "timeout");
      assert(performance.now() - start < 2500);
    });
  }
});

test("an answer in other words: small letters, spaces, lists, another header, 103 before it", async () => {
  const change = ([, , , accept]: string[]) => [
    "HTTP/1.1 103 Early Hints",
    "Link: x",
    "",
    "HTTP/1.1 101 ok",
    "server: x",
    "UPGRADE:WebSocket",
    "connection:\t keep-alive, UPGRADE  ",
    accept!.toLowerCase().slice(0, 22) + accept!.slice(22),
    "sec-websocket-protocol:mqtt ",
    "sec-websocket-extensions:",
  ];
  await withServer([upgrade(change), frames(1), send(frame(2, CONNACK)), endsToo], async (_, op) => {
    await (await open(op)).disconnect();
  });
});

test("an answer that comes byte by byte, and frames that come so", async () => {
  const script: Action[] = [
    async (peer) => {
      const { request } = await until(peer, ({ request }) => request !== undefined);
      await trickle(latin1(agreed(request!)))(peer);
    },
    frames(1),
    trickle(concat(frame(2, CONNACK), frame(9, "ping"), frame(2, publish("a", "b")))),
    endsToo,
  ];
  await withServer(script, async (server, op) => {
    const inbox = new Inbox();
    const client = await open(op, inbox.onpub);
    assertEquals(await inbox.text(), "a: b");
    await client.disconnect();
    const pong = hear(server.received()).frames.find(({ opcode }) => opcode === 10);
    assertEquals(Buffer.from(pong!.payload).toString(), "ping");
  });
});

test("frames that come together with the answer are not lost", async () => {
  const connack = frame(2, CONNACK);
  const early = concat(frame(9, "early"), connack.slice(0, 1));
  const script = [upgrade(undefined, early), frames(1), send(connack.slice(1)), send(frame(2, whole)), endsToo];
  await withServer(script, async (server, op) => {
    const inbox = new Inbox();
    const client = await open(op, inbox.onpub);
    assertEquals(await inbox.text(), "a: bc");
    await client.disconnect();
    const pong = hear(server.received()).frames.find(({ opcode }) => opcode === 10);
    assertEquals(Buffer.from(pong!.payload).toString(), "early");
  });
});

test("a server that closes at once after it has agreed is heard of", async () => {
  for (
    const script of [[upgrade(), close], [upgrade(undefined, closeFrame(1013, "later")), close], [upgrade(), reset]]
  ) {
    await withServer(script, async (_, op) => {
      const error = await failure(open(op));
      assertEquals(error.code, "socketclosed");
      assertMatch(
        error.message,
        /before CONNACK \((without a WebSocket close frame|WebSocket close code 1013, .*later)/,
      );
      assert(!error.message.includes("TLS"), error.message);
    });
  }
});

// ---- frames

const x = (count: number) => "x".repeat(count);

test("an end without a close frame says so", async () => {
  for (const how of [close, reset]) {
    await withServer([...accepted, how], async (_, op) => {
      const error = await within((await open(op)).run(), "run()");
      assertEquals(error.code, "socketclosed");
      assertStringIncludes(error.message, "without a WebSocket close frame");
    });
  }
});

test("[MQTT-6.0.0-2] [MQTT5-6.0.0-2] each cut of the stream gives the same", async () => {
  const stream = concat(
    frame(2, CONNACK),
    frame(2, publish("a", "1").slice(0, 4), { more: true }),
    frame(9, "p"),
    frame(0, publish("a", "1").slice(4)),
    frame(2, publish("a", "2")),
    closeFrame(1001, "bye"),
  );
  for (let cut = 1; cut < stream.length; cut++) {
    const script = [upgrade(), frames(1), send(stream.slice(0, cut)), sleep(2), send(stream.slice(cut)), endsToo];
    await withServer(script, async (_, op) => {
      const inbox = new Inbox();
      const error = await within((await open(op, inbox.onpub)).run(), "run()");
      assertMatch(error.message, /1001, it is going away: "bye"/);
      assertEquals(inbox.messages.map((message) => message.text()), ["1", "2"]);
    });
  }
});

test("a flood of pings is answered as fast as the server reads, without memory for each", async () => {
  const flood = concat(...Array.from({ length: 30_000 }, () => frame(9, x(100))));
  await withServer([...accepted, send(flood), send(frame(2, whole)), endsToo], async (server, op) => {
    const inbox = new Inbox();
    const client = await open(op, inbox.onpub);
    assertEquals(await inbox.text(), "a: bc");
    await client.disconnect();
    const pongs = hear(server.received()).frames.filter(({ opcode }) => opcode === 10);
    assert(pongs.length >= 1 && pongs.length <= 30_000, `${pongs.length}`);
    assert(pongs.every(({ payload }) => payload.length === 100));
  });
});

test("a server that does not read: what is published waits, pings are answered when it reads again", async () => {
  const script: Action[] = [
    ...accepted,
    ({ socket }) => {
      socket.pause();
      socket.write(frame(9, "first"));
      socket.write(frame(9, "last"));
      socket.write(frame(2, whole));
    },
  ];
  await withServer(script, async (server, op) => {
    const inbox = new Inbox();
    const client = await open(op, inbox.onpub);
    await inbox.text();
    let done = 0;
    const payload = new Uint8Array(100_000).fill(7);
    const all = Array.from({ length: 100 }, () => client.publish("t", payload).then(() => done++));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const peer = await server.peer();
    peer.socket.resume();
    await Promise.all(all);
    endsToo(peer);
    await client.disconnect();
    await gone(peer);
    const { frames } = hear(peer.received());
    const bytes = concat(...frames.filter(({ opcode }) => opcode === 2).map(({ payload }) => payload));
    assertEquals(bytes.length, CONNECT.length + 100 * (100_000 + 7) + 2);
    assertEquals(bytes.filter((byte) => byte === 7).length, 100 * 100_000);
    assertEquals(Buffer.from(frames.findLast(({ opcode }) => opcode === 10)!.payload).toString(), "last");
    assertEquals(frames.at(-1)!.opcode, 8);
  });
});

test("disconnect() sends DISCONNECT, then a close frame, and waits a second at most for the server", async () => {
  for (const answer of [[send(closeFrame(1000))], [close], []]) {
    await withServer([...accepted, frames(2), ...answer], async (server, op) => {
      const client = await open(op);
      const start = performance.now();
      await client.disconnect();
      const time = performance.now() - start;
      assert(time < 2500, `${time} ms`);
      assertEquals((await client.run()).code, "disconnect");
      const { frames } = hear((await server.peer()).received());
      assertEquals(frames.slice(1).map(({ opcode, payload }) => `${opcode} ${payload.join()}`), ["2 224,0", "8 3,232"]);
    });
  }
});

test("the signal gives up the request, and the open WebSocket", async () => {
  await withServer([asked], async (server, op) => {
    const controller = new AbortController();
    const connecting = failure(open({ ...op, signal: controller.signal }));
    await until(await server.peer(), ({ request }) => request !== undefined);
    controller.abort();
    assertEquals((await connecting).code, "disconnect");
    await gone(await server.peer());
  });
});

// ---- in threads

for (const mode of ["a thread", "a thread with its module"]) {
  test(`in ${mode}: refusals, broken frames and close codes are told alike`, async () => {
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
    const idle = new URL(`../worker/modules/idle${extension}`, import.meta.url);
    const inThread = (op: ConnectOptions): Promise<Client> =>
      connectWorker("ws://127.0.0.1", mode === "a thread" ? undefined : idle, op);
    await withServer([asked, send("HTTP/1.1 404 Not Found\r\n\r\n")], async (_, op) => {
      const error = await failure(inThread(op));
      assertEquals(error.code, "cannotconnect");
      assertMatch(error.message, /404/);
    });
    for (
      const [bytes, code, message] of [[frame(1, "x"), "protocol", /text/], [
        closeFrame(1008),
        "socketclosed",
        /1008/,
      ]] as const
    ) {
      await withServer([...accepted, frames(2), send(bytes), endsToo], async (_, op) => {
        const client = await inThread(op);
        await client.publish("t", "x");
        const error = await within(client.run(), "run()");
        assertEquals(error.code, code);
        assertMatch(error.message, message);
      });
    }
  });
}

// ---- trust

test("wss: a server that is not trusted gets nothing that may be a secret", needs("openssl"), async () => {
  const { ca, wrongName, unknown, server: good } = certificates();
  const secrets: [string, ConnectOptions][] = [
    ["", { uname: "u", passwd: "p" }],
    ["", { uname: () => "u" }],
    ["/mqtt?token=1", {}],
    ["", { headers: { Authorization: "x" } }],
    ["", { tls: { ca, untrusted: "reject" } }],
  ];
  for (const [certificate, code] of [[wrongName, "wrongname"], [unknown, "untrusted"]] as const) {
    const server = await startScripted([...accepted, endsToo], { tls: certificate });
    try {
      for (const [rest, op] of secrets) {
        const error = await failure(
          connect(`wss://localhost:${server.port}${rest}`, undefined, { tls: { ca }, id: "ID", keepalive: 0, ...op }),
        );
        assertEquals(error.code, code, error.message);
      }
      assertEquals(server.received().length, 0);
      const client = await connect(`wss://localhost:${server.port}`, undefined, { id: "ID", tls: { ca } });
      assertEquals(client.trusted, code);
      await client.disconnect();
    } finally {
      await server.stop();
    }
  }
  const server = await startScripted([...accepted, endsToo], { tls: good });
  try {
    const op = { id: "ID", tls: { ca }, uname: "u", headers: { a: "b" } };
    const client = await connect(`wss://localhost:${server.port}?a=b`, undefined, op);
    assertEquals(client.trusted, true);
    await client.disconnect();
  } finally {
    await server.stop();
  }
});
