/** The code of every failure: one table, the same on every runtime. */
import { test } from "node:test";
import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { connect, type ConnectOptions, type ErrorCode } from "../../mod.ts";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { type Action, close, end, reset, type Scripted, send, startScripted, wait } from "../support/scripted.ts";
import { credentials, freePort, startMicrosocks, startMosquitto } from "../support/servers.ts";
import { startHttpProxy } from "./http_proxy.ts";
import { endsToo, failure, gone, Inbox, within } from "./support.ts";

/** Bytes as they are read: "20 02 00 00". */
const hex = (text: string) => Uint8Array.from(text.split(" ").filter(Boolean), (byte) => parseInt(byte, 16));
const answer = (text: string): Action[] => [wait(14), send(hex(text))];
const connack = "20 02 00 00";
const html = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<h1>Bad Request</h1>";

/** Every code there is; the last test wants all of them seen. */
const codes: ErrorCode[] = [
  ...[1, 2, 3, 4, 5, 128, "invalidresp", "cannotresolve", "cannotconnect", "timeout", "proxy", "untrusted"] as const,
  ...["wrongname", "expired", "tls", "socketclosed", "pingresp", "unknowncp", "protocol", "overflow"] as const,
  "disconnect",
];
const seen = new Set<ErrorCode>();

async function codeOf(promise: Promise<unknown>, deadline?: number): Promise<ErrorCode> {
  const { code } = await failure(promise, deadline);
  seen.add(code);
  return code;
}

type Row = readonly [what: string, code: ErrorCode, script: Action[], op?: ConnectOptions];

/** What a server may do before it accepts. */
const answers: Row[] = [
  ["silence", "timeout", [], { timeout: 300 }],
  ["half a CONNACK, then silence", "timeout", answer("20 02"), { timeout: 300 }],
  ["close at once", "socketclosed", [close]],
  ["FIN at once", "socketclosed", [end]],
  ["reset at once", "socketclosed", [wait(14), reset]],
  ["half a CONNACK, then close", "socketclosed", [...answer("20 02"), close]],
  ["CONNACK 1", 1, answer("20 02 00 01")],
  ["CONNACK 2", 2, answer("20 02 00 02")],
  ["CONNACK 3", 3, answer("20 02 00 03")],
  ["CONNACK 4", 4, answer("20 02 00 04")],
  ["CONNACK 5, then close", 5, [...answer("20 02 00 05"), close]],
  ["CONNACK 6", "invalidresp", answer("20 02 00 06")],
  ["CONNACK 255", "invalidresp", answer("20 02 00 ff")],
  ["CONNACK without content", "invalidresp", answer("20 00")],
  ["CONNACK with three bytes", "invalidresp", answer("20 03 00 00 00")],
  ["CONNACK with flags", "invalidresp", answer("21 02 00 00")],
  ["CONNACK with reserved acknowledge flags", "invalidresp", answer("20 02 02 00")],
  ["[MQTT-3.2.2-1] session present after clean session", "invalidresp", answer("20 02 01 00")],
  ["[MQTT-3.2.2-4] session present with a refusal", "invalidresp", answer("20 02 01 05")],
  ["SUBACK first", "invalidresp", answer("90 03 00 01 00")],
  ["PUBLISH first", "invalidresp", answer("30 03 00 01 61")],
  ["the first byte of HTTP", "invalidresp", answer("48")],
  ["HTTP", "invalidresp", [wait(14), send(html), close]],
  ["HTTP before it read anything", "invalidresp", [send(html)]],
];

/** What a broker may do after it accepted. */
const mistakes: Row[] = [
  ["close", "socketclosed", [close]],
  ["FIN", "socketclosed", [end]],
  ["reset", "socketclosed", [reset]],
  ["a packet that is cut", "socketclosed", [send(hex("30 10 00 01 61 62")), close]],
  ["type 0", "unknowncp", [send(hex("00 00"))]],
  ["type 15", "unknowncp", [send(hex("f0"))]],
  ["CONNECT", "unknowncp", [send(hex("10 0e 00 04 4d 51 54 54 04 02 00 3c 00 02 49 44"))]],
  ["SUBSCRIBE", "unknowncp", [send(hex("82 06 00 01 00 01 61 00"))]],
  ["UNSUBSCRIBE", "unknowncp", [send(hex("a2 05 00 01 00 01 61"))]],
  ["PINGREQ", "unknowncp", [send(hex("c0 00"))]],
  ["DISCONNECT", "unknowncp", [send(hex("e0 00"))]],
  ["a second CONNACK", "protocol", [send(hex(connack))]],
  ["a remaining length of five bytes", "protocol", [send(hex("30 ff ff ff ff"))]],
  ["QoS 3", "protocol", [send(hex("36"))]],
  ["DUP at QoS 0", "protocol", [send(hex("38 03 00 01 61"))]],
  ["a topic name with a wildcard", "protocol", [send(hex("30 03 00 01 2b"))]],
  ["an empty topic name", "protocol", [send(hex("30 02 00 00"))]],
  ["a topic name with U+0000", "protocol", [send(hex("30 03 00 01 00"))]],
  ["a topic name that is not UTF-8", "protocol", [send(hex("30 04 00 02 c3 28"))]],
  ["a topic name longer than the packet", "protocol", [send(hex("30 03 00 05 61"))]],
  ["packet identifier 0", "protocol", [send(hex("32 05 00 01 61 00 00"))]],
  ["SUBACK that nobody asked for", "protocol", [send(hex("90 03 00 01 00"))]],
  ["UNSUBACK that nobody asked for", "protocol", [send(hex("b0 02 00 01"))]],
  ["SUBACK without a code", "protocol", [send(hex("90 02 00 01"))]],
  ["PINGRESP with a byte", "protocol", [send(hex("d0 01 00"))]],
  ["PINGRESP with flags", "protocol", [send(hex("d1 00"))]],
  ["a SUBACK over maxPacketSize, by its head", "overflow", [send(hex("90 80 01"))], { maxPacketSize: 100 }],
  ["no answer to PINGREQ", "pingresp", [], { keepalive: 1 }],
];

/** Runs the row's script; the server must see the end of the connection, and CONNECT is all it gets. */
async function play(script: Action[], act: (server: Scripted) => Promise<unknown>): Promise<void> {
  const server = await startScripted(script);
  try {
    await act(server);
    await gone(await server.peer());
  } finally {
    await server.stop();
  }
}

for (const [what, code, script, op] of answers) {
  test(`connect is answered with ${what}: ${code}`, () =>
    play(script, async ({ port }) => {
      const start = performance.now();
      const error = await failure(connect("127.0.0.1", undefined, { port, timeout: 3000, ...op }));
      assertEquals(error.code, code);
      seen.add(code);
      assertLess(performance.now() - start, 2000, "known at once");
      if (code === "invalidresp") assertMatch(error.message, /\[MQTT-[\d.]+-\d+\]$/);
    }));
}

for (const [what, code, script, op] of mistakes) {
  test(`the broker sends ${what}: ${code}`, () =>
    play([...answer(`${connack} 30 03 00 01 61`), ...script], async (server) => {
      const inbox = new Inbox();
      const client = await connect("127.0.0.1", inbox.onpub, { port: server.port, id: "ID", ...op });
      const end = await within(client.run(), "run()");
      assertEquals(end.code, code);
      seen.add(code);
      if (code === "protocol" || code === "unknowncp") assertMatch(end.message, /\[MQTT-[\d.]+-\d+\]$/);
      assertEquals(inbox.messages.map(({ topic }) => topic), ["a"], "what came before the mistake");
      assertEquals(await codeOf(client.publish("t", "")), code);
      assertEquals(await codeOf(client.subscribe("t")), code);
      assertEquals(await codeOf(client.messages("t").next()), code);
      await client.disconnect();
      assertEquals((await client.run()).code, code);
      const sent = server.received().slice(16);
      assertMatch(sent.join(), code === "pingresp" ? /^192,0(,192,0)*$/ : /^$/, "what was sent after CONNECT");
    }));
}

test("nobody listens: cannotconnect", async () => {
  const op = { port: freePort() };
  assertEquals(await codeOf(connect("127.0.0.1", undefined, op), 2000), "cannotconnect");
  assertEquals(await codeOf(connect("localhost", undefined, { ...op, tls: true }), 2000), "cannotconnect");
  assertEquals(await codeOf(connect("::1", undefined, op), 2000), "cannotconnect");
});

test("an unknown host: cannotresolve", async () => {
  assertEquals(await codeOf(connect("nohost.invalid")), "cannotresolve");
  assertEquals(await codeOf(connect("mqtts://nohost.invalid")), "cannotresolve");
  assertEquals(await codeOf(connect("127.0.0.1", undefined, { proxy: "socks5://nohost.invalid" })), "cannotresolve");
});

/** What a server may do to whom speaks TLS to it. */
const handshakes: Row[] = [
  ["silence", "timeout", [], { timeout: 300 }],
  ["HTTP", "tls", [wait(1), send(html)]],
  ["MQTT", "tls", [wait(1), send(hex(`${connack} 30 03 00 01 61`))]],
  ["close", "tls", [close]],
  ["FIN", "tls", [wait(1), end]],
  ["reset", "tls", [wait(1), reset]],
];

for (const [what, code, script, op] of handshakes) {
  test(`the TLS handshake is answered with ${what}: ${code}`, () =>
    play(script, async ({ port }) => {
      assertEquals(await codeOf(connect("127.0.0.1", undefined, { port, tls: true, timeout: 3000, ...op })), code);
    }));
}

test("TLS to mosquitto's plain port: tls", needs("mosquitto"), async () => {
  const { port, stop } = await startMosquitto();
  try {
    assertEquals(await codeOf(connect("127.0.0.1", undefined, { port, tls: true, timeout: 3000 })), "tls");
  } finally {
    await stop();
  }
});

test("plain MQTT to a TLS port: invalidresp, or socketclosed", needs("mosquitto", "openssl"), async () => {
  const mosquitto = await startMosquitto({ tls: true });
  const scripted = await startScripted([], { tls: certificates().server });
  try {
    for (const { port } of [mosquitto, scripted]) {
      const code = await codeOf(connect("127.0.0.1", undefined, { port, timeout: 3000 }));
      // A TLS alert, if it is sent and arrives before the end, is no CONNACK.
      assert(code === "invalidresp" || code === "socketclosed", `${code}`);
    }
  } finally {
    await mosquitto.stop();
    await scripted.stop();
  }
});

test("the broker is stopped: socketclosed", needs("mosquitto"), async () => {
  const mosquitto = await startMosquitto();
  const client = await connect("127.0.0.1", undefined, { port: mosquitto.port });
  const pending = codeOf(client.messages("t").next());
  await mosquitto.stop();
  assertEquals((await within(client.run(), "run()")).code, "socketclosed");
  assertEquals(await pending, "socketclosed");
});

test("mosquitto refuses: 4 or 5 for the password, 2 for the identifier", needs("mosquitto"), async () => {
  const mosquitto = await startMosquitto({ password: true, config: "allow_zero_length_clientid false" });
  const op = { port: mosquitto.port, ...credentials };
  try {
    assertEquals(await codeOf(connect("127.0.0.1", undefined, { ...op, passwd: "wrong" })), 5);
    assertEquals(await codeOf(connect("127.0.0.1", undefined, { port: mosquitto.port })), 5);
    assertEquals(await codeOf(connect("127.0.0.1", undefined, { ...op, id: "" })), 2);
  } finally {
    await mosquitto.stop();
  }
});

test("the proxy: refused, wrong password, no password", needs("microsocks"), async () => {
  const open = await startMicrosocks();
  const locked = await startMicrosocks({ user: "u", password: "p" });
  const http = await startHttpProxy("u:p");
  const through = (proxy: string, host = "127.0.0.1") =>
    codeOf(connect(host, undefined, { port: freePort(), proxy, timeout: 5000 }));
  try {
    assertEquals(await through(`socks5://127.0.0.1:${open.port}`), "proxy");
    assertEquals(await through(`socks5://127.0.0.1:${open.port}`, "nohost.invalid"), "proxy");
    assertEquals(await through(`socks5://127.0.0.1:${locked.port}`), "proxy");
    assertEquals(await through(`socks5://u:wrong@127.0.0.1:${locked.port}`), "proxy");
    assertEquals(await through(`http://u:p@127.0.0.1:${http.port}`), "proxy");
    assertEquals(await through(`http://127.0.0.1:${http.port}`), "proxy");
    assertEquals(await through(`http://u:wrong@127.0.0.1:${http.port}`), "proxy");
    assertEquals(
      await through(`socks5://127.0.0.1:${http.port}`.replace(/\d+$/, `${freePort()}`)),
      "cannotconnect",
    );
  } finally {
    await open.stop();
    await locked.stop();
    await http.stop();
  }
});

/** What a proxy that is none may do; the code for SOCKS5 and HTTP alike. */
const proxies: Row[] = [
  ["silence", "timeout", [], { timeout: 300 }],
  ["close", "proxy", [close]],
  ["reset", "proxy", [wait(3), reset]],
  ["another protocol", "proxy", [wait(3), send("220 smtp.example ESMTP\r\n")]],
  ["MQTT", "proxy", [wait(3), send(hex(connack))]],
  ["its answer, cut, and close", "proxy", [wait(3), send(hex("05")), close]],
  ["SOCKS5 without a method", "proxy", [wait(3), send(hex("05 ff"))]],
  ["SOCKS5 with a method not offered", "proxy", [wait(3), send(hex("05 01"))]],
  ["SOCKS5 with an unknown reply", "proxy", [wait(3), send(hex("05 00 05 63 00 01 00 00 00 00 00 00"))]],
  ["an HTTP status other than 2xx", "proxy", [wait(3), send("HTTP/1.1 403 Forbidden\r\n\r\n")]],
];

for (const [what, code, script, op] of proxies) {
  test(`the proxy answers with ${what}: ${code}`, async () => {
    for (const protocol of ["socks5", "http"]) {
      await play(script, async ({ port }) => {
        const proxy = `${protocol}://127.0.0.1:${port}`;
        assertEquals(await codeOf(connect("broker.example", undefined, { proxy, timeout: 3000, ...op })), code);
      });
    }
  });
}

const certificateCodes = [
  ["unknown", "untrusted"],
  ["selfSigned", "untrusted"],
  ["wrongName", "wrongname"],
  ["expired", "expired"],
] as const;

for (const [kind, code] of certificateCodes) {
  test(`the certificate is ${kind}: ${code} when it must be trusted`, needs("openssl"), async () => {
    const made = certificates();
    const server = await startScripted(answer(connack), { tls: made[kind] });
    const op = { port: server.port, timeout: 5000 };
    try {
      for (const tls of [{ ca: made.ca }, { ca: made.ca, untrusted: "reject" as const }]) {
        assertEquals(await codeOf(connect("localhost", undefined, { ...op, ...credentials, tls })), code);
      }
      assertEquals(
        await codeOf(connect("localhost", undefined, { ...op, tls: { ca: made.ca, untrusted: "reject" } })),
        code,
      );
      const client = await connect("localhost", undefined, { ...op, tls: { ca: made.ca } });
      assertEquals(client.trusted, code);
      await client.disconnect();
    } finally {
      await server.stop();
    }
  });
}

test("a client certificate that is missing or unknown: tls", needs("mosquitto", "openssl"), async () => {
  const { ca, client, selfSigned } = certificates();
  const mosquitto = await startMosquitto({ clientCert: true });
  const op = { port: mosquitto.port, timeout: 5000 };
  try {
    assertEquals(await codeOf(connect("localhost", undefined, { ...op, tls: { ca } })), "tls");
    const { cert, key } = selfSigned;
    assertEquals(await codeOf(connect("localhost", undefined, { ...op, tls: { ca, cert, key } })), "tls");
    const good = { ca, cert: client.cert, key: client.key };
    const accepted = await connect("localhost", undefined, { ...op, tls: good });
    assertEquals(accepted.trusted, true);
    await accepted.disconnect();
  } finally {
    await mosquitto.stop();
  }
});

test("the application's own: 128, overflow, timeout, disconnect", async () => {
  const server = await startScripted([...answer(connack), endsToo, wait(24), send(hex("90 03 00 01 80"))]);
  try {
    const op = { port: server.port, id: "ID", maxBuffered: 1000, timeout: 300 };
    const client = await connect("127.0.0.1", undefined, op);
    assertEquals(await codeOf(client.subscribe("t")), 128);
    assertEquals(await codeOf(client.publish("t", new Uint8Array(1000))), "overflow");
    assertEquals(await codeOf(client.unsubscribe("t")), "timeout");
    const done = client.disconnect();
    assertEquals(await codeOf(client.publish("t", "")), "disconnect");
    await done;
    assertEquals((await client.run()).code, "disconnect");
  } finally {
    await server.stop();
  }
});

test("every code was seen", needs("mosquitto", "openssl"), () => {
  assertEquals([...seen].map(String).sort(), codes.map(String).sort());
});
