/** Wrong arguments: refused before any I/O, with what is wrong. */
import { test } from "node:test";
import { PassThrough } from "node:stream";
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { type Client, connect, type ConnectOptions } from "../../mod.ts";
import { type Certificate, certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { send, startScripted, wait } from "../support/scripted.ts";
import { endsToo, failure, gone, within } from "./support.ts";

const accept = [wait(14), send(Uint8Array.of(0x20, 2, 0, 0))];
const long = "x".repeat(65_536);
const locked = new TransformStream();
locked.readable.getReader();

/** TypeErrors; what is marked is a RangeError. */
const addresses: unknown[] = [
  undefined,
  null,
  42,
  {},
  [],
  ["localhost", 42],
  ["localhost", ["localhost"]],
  ["localhost", new PassThrough()],
  ["localhost", "mqtt://"],
  ["localhost", undefined],
  "",
  " ",
  "a b",
  "a\0b",
  "http://localhost",
  "ftp://localhost",
  "mqtt://",
  "mqtt:// ",
  "mqtt://%zz@localhost",
  { readable: 1, writable: 2 },
  { readable: new ReadableStream() },
  locked,
]; // deno-fmt-ignore
const typeErrors: Record<string, unknown[]> = {
  port: ["1883", {}],
  keepalive: ["60", true],
  timeout: ["1000"],
  maxPacketSize: ["1000"],
  maxBuffered: [{}],
  id: [42, null, "a\0", "\ud800"],
  uname: [42, "a\0b", "\udc00", new Uint8Array([0xff]), new Uint8Array([0x61, 0])],
  passwd: [42, "without uname", new Uint8Array(1)],
  will: [null, "topic", {}, { topic: "" }, { topic: "a/+" }, { topic: "#" }, { topic: "t", message: 42 }, { topic: "t" }],
  proxy: ["", "localhost:1080", "ftp://localhost", "socks5://", "https://localhost", 42],
  signal: [{}, "now"],
  tls: ["yes", 1, { ca: 42 }, { ca: "none" }, { ca: [new Uint8Array(9)] }, { cert: "none" }, { key: "none" }, { servername: 42 }, { alpn: "mqtt" }, { alpn: [42] }, { untrusted: "accept" }],
  reconnect: [{ minDelay: "1" }, "yes"],
  offline: [true, "yes", 1],
  subscriptions: ["a", ["a"], new Map(), { "a/#/b": () => {} }, { "": {} }, { a: null }, { a: "onpub" }, { a: { concurrency: 2 } }],
};
const rangeErrors: Record<string, unknown[]> = {
  port: [0, -1, 65_536, 1.5, NaN, Infinity],
  keepalive: [-1, 65_536, 0.5, NaN, Infinity],
  timeout: [0, -1, 1.5, Infinity, 2 ** 31],
  maxPacketSize: [0, 268_435_461],
  maxBuffered: [0, -1, NaN],
  id: [long],
  uname: [long, new Uint8Array(65_536)],
  will: [{ topic: long, message: "" }, { topic: "t", message: long }, { topic: "t", message: "", qos: 3 }],
  proxy: [`socks5://${"u".repeat(256)}:p@localhost`],
  subscriptions: [{ a: { qos: 3 } }, { a: { onpub: () => {}, concurrency: 0 } }],
  reconnect: [{ minDelay: 0 }, { maxDelay: 1 }, { attempts: 0 }],
};

type Kind = typeof TypeError | typeof RangeError;

/** Collects what was not refused as it must be: one failure shows all. */
class Refusals {
  readonly missing: string[] = [];

  async add(what: string, type: Kind, act: () => Promise<unknown>): Promise<void> {
    const told = await within(act(), what, 3000).then((value) => value, (error) => error);
    // A client that was made after all.
    if (typeof told?.disconnect === "function") await told.disconnect();
    if (!(told instanceof type) || !told.message.startsWith("Cannot ")) this.missing.push(`${what}: ${told}`);
  }
}

function show(value: unknown): string {
  return typeof value === "number" ? `${value}` : JSON.stringify(value)?.slice(0, 60) ?? "undefined";
}

test("connect refuses wrong arguments before any I/O", async () => {
  const server = await startScripted(accept);
  const op = { port: server.port, timeout: 2000 };
  const refusals = new Refusals();
  try {
    for (const addr of addresses) {
      await refusals.add(`addr ${show(addr)}`, TypeError, () => connect(addr as string, undefined, op));
    }
    for (const [errors, type] of [[typeErrors, TypeError], [rangeErrors, RangeError]] as const) {
      for (const [name, values] of Object.entries(errors)) {
        for (const value of values) {
          const wrong = { ...op, [name]: value };
          await refusals.add(`${name} ${show(value)}`, type, () => connect("127.0.0.1", undefined, wrong));
        }
      }
    }
    await refusals.add(
      "mqtts without tls",
      TypeError,
      () => connect("mqtts://127.0.0.1", undefined, { ...op, tls: false }),
    );
    await refusals.add("a long name", RangeError, () => connect("n".repeat(256), undefined, op));
    const encoded = new PassThrough().setEncoding("utf8");
    await refusals.add("an encoding", TypeError, () => connect(encoded, undefined, { timeout: 2000 }));
    await refusals.add("onpub", TypeError, () => connect("127.0.0.1", 42 as never, op));
    const empty = { ...op, id: "", session: true };
    await refusals.add("empty id", TypeError, () => connect("127.0.0.1", undefined, empty));
    await refusals.add("passwd of the URL", TypeError, () => connect(`mqtt://:p@127.0.0.1:${server.port}`));
    await refusals.add("reconnect", TypeError, () => connect(new PassThrough(), undefined, { reconnect: true }));
    const client = await connect("127.0.0.1", undefined, op);
    await client.disconnect();
    assertEquals(refusals.missing, []);
    assertEquals(server.peers.length, 1, "only the last, good one has connected");
  } finally {
    await server.stop();
  }
});

test("what the URL says, and what the options say instead", async () => {
  const server = await startScripted([...accept, endsToo]);
  const host = `127.0.0.1:${server.port}`;
  const rows: [string, ConnectOptions, string][] = [
    [`mqtt://us%40er:p%3Aw%C3%BC@${host}`, {}, "\0\x05us@er\0\x05p:w\xc3\xbc"],
    [`mqtt://user@${host}/`, {}, "\0\x04user"],
    [`MQTT://url:url@${host}`, { uname: "u", passwd: "" }, "\0\x01u\0\0"],
    [`mqtt://url:p@${host}`, { uname: () => Promise.resolve("") }, "\0\0\0\x01p"],
    ["mqtt://url:url@127.0.0.1:1", { port: server.port, uname: "u", passwd: "p" }, "\0\x01u\0\x01p"],
  ];
  try {
    for (const [i, [url, op, expected]] of rows.entries()) {
      const client = await connect(url, undefined, { ...op, id: "ID", timeout: 3000 });
      await client.disconnect();
      const sent = String.fromCharCode(...server.peers[i]!.received().slice(16, -2));
      assertEquals(sent, expected, url);
    }
  } finally {
    await server.stop();
  }
});

test("publish, subscribe, unsubscribe and messages refuse wrong arguments, and send nothing", async () => {
  const server = await startScripted(accept);
  try {
    const client = await connect("127.0.0.1", undefined, { port: server.port, id: "ID" });
    const refusals = new Refusals();
    const publish = client.publish.bind(client) as (...args: unknown[]) => Promise<number>;
    const messages = (...args: unknown[]) =>
      Promise.resolve().then(() => client.messages(...args as Parameters<Client["messages"]>).next());
    for (const topic of [undefined, null, 42, "", "+", "a/#", "a\0", "\ud800", "a\udc00b"]) {
      const what = `publish ${show(topic)}`;
      await refusals.add(what, TypeError, () => publish(topic, "m"));
      await refusals.add(`${what} large`, TypeError, () => publish(topic, new Uint8Array(70_000)));
    }
    await refusals.add("publish a long topic", RangeError, () => publish(long, "m"));
    await refusals.add("publish a long topic in bytes", RangeError, () => publish("ü".repeat(32_768), "m"));
    for (const message of [undefined, null, 42, {}, [1], new ArrayBuffer(1), new Uint16Array(1)]) {
      await refusals.add(`publish ${show(message)}`, TypeError, () => publish("t", message));
    }
    for (const qos of [3, -1, 0.5, NaN, "1"] as unknown as 0[]) {
      await refusals.add(`publish QoS ${qos}`, RangeError, () => publish("t", "m", { qos }));
      await refusals.add(`subscribe QoS ${qos}`, RangeError, () => client.subscribe("t", { qos }));
      await refusals.add(`messages QoS ${qos}`, RangeError, () => messages("t", { qos }));
    }
    const filters = [undefined, null, 42, "", "a#", "#/a", "a/#/b", "a+", "+a/b", "a\0", "\ud800", [], [""], [
      "a",
      "b#",
    ], Object.assign([], { 1: "a hole before it" })];
    for (const filter of filters as string[]) {
      await refusals.add(`subscribe ${show(filter)}`, TypeError, () => client.subscribe(filter));
      await refusals.add(`unsubscribe ${show(filter)}`, TypeError, () => client.unsubscribe(filter));
      await refusals.add(`messages ${show(filter)}`, TypeError, () => messages(filter));
    }
    await refusals.add("subscribe long", RangeError, () => client.subscribe(long));
    await refusals.add("subscribe callback", TypeError, () => client.subscribe("t", {}, 42 as never));
    await refusals.add("subscribe options", TypeError, () => client.subscribe("t", 42 as never));
    await refusals.add("subscribe onpub", TypeError, () => client.subscribe("t", { onpub: 42 as never }));
    await refusals.add("unsubscribe callback", TypeError, () => client.unsubscribe("t", 42 as never));
    for (const limit of [0, -1, 1.5, NaN]) {
      await refusals.add(`messages limit ${limit}`, RangeError, () => messages("t", { limit }));
    }
    assertEquals(refusals.missing, []);
    await client.publish("t", "m");
    const peer = await server.peer();
    await peer.wait(21);
    assertEquals(peer.received().slice(16).join(), "48,4,0,1,116,109", "CONNECT, then the one good message");
    const done = client.disconnect();
    peer.socket.end();
    await done;
  } finally {
    await server.stop();
  }
});

test("a credential that its function cannot give ends connecting, and nothing is sent", async () => {
  const server = await startScripted();
  const op = { port: server.port, timeout: 2000 };
  const closed = new Error("the vault is closed");
  const fails = (uname: unknown, passwd?: unknown) =>
    failure(connect("127.0.0.1", undefined, { ...op, ...{ uname, passwd } as { uname: string; passwd: string } }));
  try {
    const rejected = await fails(() => Promise.reject(closed));
    const thrown = await fails(() => {
      throw closed;
    });
    assertEquals([rejected.code, rejected.cause], ["cannotconnect", closed]);
    assertEquals([thrown.code, thrown.cause], ["cannotconnect", closed]);
    assertInstanceOf((await fails(() => 42)).cause, TypeError);
    assertInstanceOf((await fails(() => long)).cause, RangeError);
    assertInstanceOf((await fails("u", () => undefined)).cause, TypeError);
    await within(Promise.all(server.peers.map(gone)), "the end of the connections");
    assertEquals(server.received().length, 0);
  } finally {
    await server.stop();
  }
});

test("a certificate or key that is none: tls, whoever finds out", needs("openssl"), async () => {
  const { ca, client, server: { cert, key } } = certificates(), none = "-----BEGIN NOTHING-----";
  const asking = { tls: { cert, key } as Certificate, tlsOptions: { requestCert: true, rejectUnauthorized: true, ca } };
  const server = await startScripted(accept, asking);
  const op = { port: server.port, timeout: 2000 };
  try {
    for (const tls of [{ cert: none, key: none }, { cert: client.cert, key: none }, { cert: client.cert, key }]) {
      const error = await failure(connect("localhost", undefined, { ...op, tls: { ca, ...tls } }));
      assertEquals(error.code, "tls");
      assert(!error.message.includes("PRIVATE KEY"));
    }
    assertEquals(server.received().length, 0);
  } finally {
    await server.stop();
  }
});
