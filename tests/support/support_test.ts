import { test } from "node:test";
import { connect } from "node:net";
import { once } from "node:events";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { type Certificate, certificates } from "./certificates.ts";
import { needs, startProcess } from "./process.ts";
import { close, reset, send, startScripted, wait } from "./scripted.ts";
import { freePort, mosquittoPub, mosquittoSub, startAedes, startMicrosocks, startMosquitto } from "./servers.ts";

const bytes = Uint8Array.from({ length: 300 }, (_, i) => i);

test("assert: a wrong expectation throws", async () => {
  assertThrows(() => assertEquals<unknown>([1], [2]), Error, "2");
  assertThrows(() => assertThrows(() => {}));
  await assertRejects(() => assertRejects(() => Promise.resolve()), Error, "to reject");
  await assertRejects(() => assertRejects(() => Promise.reject(new TypeError("x")), RangeError), Error, "RangeError");
});

test("net: an available port can be listened on", async () => {
  const aedes = await startAedes({ port: freePort() });
  await aedes.stop();
});

for (const [name, start] of [["aedes", startAedes], ["mosquitto", startMosquitto]] as const) {
  test(`${name}: mosquitto_pub to mosquitto_sub`, needs("mosquitto", "mosquitto_sub"), async () => {
    const broker = await start();
    await mosquittoPub({ port: broker.port, topic: "kept", message: "old", retain: true });
    const sub = await mosquittoSub({ port: broker.port, topic: "#", qos: 1 });
    await mosquittoPub({ port: broker.port, topic: "größe/1", message: bytes, qos: 1 });
    await mosquittoPub({ port: broker.port, topic: "empty", message: "" });
    const all = [await sub.next(), await sub.next(), await sub.next()];
    await sub.stop();
    await broker.stop();
    assertEquals(all, [
      { topic: "kept", qos: 0, retain: true, payload: new TextEncoder().encode("old") },
      { topic: "größe/1", qos: 1, retain: false, payload: bytes },
      { topic: "empty", qos: 0, retain: false, payload: new Uint8Array() },
    ]);
  });
}

test("mosquitto: password, TLS and a client certificate", needs("mosquitto", "mosquitto_pub", "openssl"), async () => {
  const broker = await startMosquitto({ password: true, clientCert: true });
  const { caFile, client } = certificates();
  const message = { port: broker.port, topic: "t", message: "m" };
  const tls = ["--cafile", caFile, "--cert", client.certFile, "--key", client.keyFile];
  await mosquittoPub({ ...message, args: [...tls, "-u", "user", "-P", "secret"] });
  await assertRejects(() => mosquittoPub({ ...message, args: tls }), Error, "not authori");
  await assertRejects(() => mosquittoPub({ ...message, args: tls.slice(0, 2) }), Error);
  await broker.stop();
});

test("mosquitto: stopped with SIGSTOP it still ends", needs("mosquitto"), async () => {
  const broker = await startMosquitto();
  broker.kill("SIGSTOP");
  await broker.stop();
  await assertRejects(() => once(connect(broker.port, "127.0.0.1"), "connect"));
});

test("microsocks: answers a SOCKS5 greeting", needs("microsocks"), async () => {
  const proxy = await startMicrosocks({ user: "u", password: "p" });
  const socket = connect(proxy.port, "127.0.0.1").on("error", () => {});
  socket.write(Uint8Array.of(5, 1, 2));
  const [answer] = await once(socket, "data");
  socket.destroy();
  await once(socket, "close");
  await proxy.stop();
  assertEquals([...answer], [5, 2]);
});

test("certificates: each is what it says", needs("openssl"), async () => {
  const { ca, server, wrongName, selfSigned, expired, unknown } = certificates();
  async function verdict(tls: Certificate): Promise<string> {
    const scripted = await startScripted([wait(1), close], { tls });
    const socket: TLSSocket = tlsConnect({ port: scripted.port, host: "localhost", ca, rejectUnauthorized: false });
    await once(socket, "secureConnect");
    const { valid_to } = socket.getPeerCertificate();
    const error = socket.authorized ? "good" : String(socket.authorizationError);
    socket.destroy();
    await once(socket, "close");
    await scripted.stop();
    return Date.parse(valid_to) < Date.now() ? "expired" : error;
  }
  assertEquals(await verdict(server), "good");
  assertEquals(await verdict(expired), "expired");
  assertMatch(await verdict(wrongName), /ALTNAME/);
  assertMatch(await verdict(selfSigned), /SELF_SIGNED|VERIFY/);
  assertMatch(await verdict(unknown), /VERIFY|ISSUER/);
});

test("scripted: plays its script and records what it got", async () => {
  const server = await startScripted([send([1, 2]), wait(3), send("bye"), close]);
  const socket = connect(server.port, "127.0.0.1");
  let got = "";
  socket.on("data", (chunk) => {
    if (!got) socket.write("abc");
    got += chunk.toString("latin1");
  });
  await once(socket, "close");
  assertEquals(new TextDecoder().decode(server.received()), "abc");
  await server.stop();
  assertEquals(got, "\x01\x02bye");
});

test("scripted: reset reaches the client as an error", async () => {
  const server = await startScripted([wait(1), reset]);
  const socket = connect(server.port, "127.0.0.1");
  socket.write("x");
  const [error] = await once(socket.on("data", () => {}), "error");
  await (await server.peer()).closed;
  await server.stop();
  assertEquals(error.code, "ECONNRESET");
});

test("process: lines, output and exit code", async () => {
  const child = await startProcess("sh", ["-c", "echo one; echo two; exit 3"]);
  const lines: string[] = [];
  await child.output(/two/);
  child.lines((line) => lines.push(line));
  assertEquals(await child.exited, 3);
  assertEquals(lines, ["one", "two"]);
  await assertRejects(() => child.output(/three/), Error, "two");
});
