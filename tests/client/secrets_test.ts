import { inspect } from "node:util";
import process from "node:process";
import { test } from "node:test";
import { assert, assertRejects, assertThrows } from "@std/assert";
import { connect, type ConnectOptions, connectSync, connectWorker, type MqttError } from "../../mod.ts";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { close, send, startScripted, wait } from "../support/scripted.ts";
import { credentials, startMosquitto } from "../support/servers.ts";
import { failure } from "./support.ts";

const uname = "alice-9f2c", passwd = "s3cr3t-7b1e";
/** As text, and as bytes are shown: in decimal and hexadecimal. */
const secrets = [uname, passwd].flatMap((text) => {
  const bytes = [...new TextEncoder().encode(text)];
  return [text, bytes.join(", "), bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ")];
});

/** All that a program may print of a value: as the runtime, JSON, a template and an error show it. */
function dumps(value: unknown): string {
  const { Deno: deno, Bun: bun } = globalThis as {
    Deno?: { inspect(value: unknown, options: unknown): string };
    Bun?: { inspect(value: unknown, options: unknown): string };
  };
  const shown = [
    inspect(value, { depth: 20, showHidden: true, getters: true }),
    deno?.inspect(value, { depth: 20, showHidden: true, getters: true }),
    bun?.inspect(value, { depth: 20 }),
    String(value),
    value instanceof Error ? value.stack : "",
  ];
  for (let cause = (value as Error).cause; cause instanceof Error; cause = cause.cause) shown.push(dumps(cause));
  return shown.join("\n");
}

function assertNoSecret(value: unknown): void {
  const text = dumps(value).replaceAll(/\s+/g, " ");
  for (const secret of secrets) assert(!text.includes(secret), `${secret} is in ${text.slice(0, 2000)}`);
}

test("credentials: none in the errors of connect, whatever fails", async () => {
  const refusing = await startScripted([wait(3), send([0x20, 2, 0, 5]), close]);
  const closing = await startScripted([wait(3), close]);
  const talking = await startScripted([wait(3), send("HTTP/1.1 400 Bad Request\r\n\r\n"), close]);
  const op: ConnectOptions = { uname, passwd };
  const errors: MqttError[] = [];
  for (const { port } of [refusing, closing, talking]) {
    errors.push(await failure(connect("127.0.0.1", undefined, { ...op, port })));
    errors.push(await failure(connectWorker("127.0.0.1", undefined, { ...op, port })));
    errors.push(await failure(connect(`mqtt://${uname}:${passwd}@127.0.0.1:${port}`)));
    errors.push(
      await failure(
        connect("127.0.0.1", undefined, { ...op, port: 9, proxy: `http://${uname}:${passwd}@127.0.0.1:${port}` }),
      ),
    );
    errors.push(
      await failure(
        connect("127.0.0.1", undefined, { ...op, port: 9, proxy: `socks5://${uname}:${passwd}@127.0.0.1:${port}` }),
      ),
    );
  }
  await Promise.all([refusing.stop(), closing.stop(), talking.stop()]);
  errors.forEach(assertNoSecret);
});

test("credentials: none in what a wrong argument throws", async () => {
  for (
    const [addr, op] of [
      [`mqtt://${uname}:${passwd}@`, {}],
      [`http://${uname}:${passwd}@localhost`, {}],
      [`mqtt://${uname}:${passwd}%@localhost`, {}],
      [`${uname}:${passwd}@localhost`, {}],
      ["localhost", { passwd }],
      ["localhost", { uname: `${uname}\0`, passwd }],
      ["localhost", { uname, passwd: `${passwd}\ud800` }],
      ["localhost", { uname, passwd, port: 0 }],
      ["localhost", { uname, passwd, proxy: `ftp://${uname}:${passwd}@proxy` }],
      ["localhost", { uname, passwd, proxy: `socks5://${uname}:${passwd}%@proxy` }],
    ] as [string, ConnectOptions][]
  ) {
    assertNoSecret(await assertRejects(() => connect(addr, undefined, op), Error));
    assertNoSecret(await assertRejects(() => connectWorker(addr, undefined, op), Error));
    assertNoSecret(assertThrows(() => connectSync(addr, undefined, op), Error));
  }
});

test("credentials: none in a dump of a client, nor of the error it ends with", needs("mosquitto"), async () => {
  const broker = await startMosquitto();
  const { port } = broker;
  const listened = new Set<string>();
  const write = process.stderr.write;
  process.stderr.write = ((text: string) => !!listened.add(String(text))) as typeof write;
  try {
    for (const open of [connect, connectWorker]) {
      const mqtt = await open("127.0.0.1", undefined, { port, uname, passwd, reconnect: true });
      await mqtt.subscribe("a");
      assertNoSecret(mqtt);
      assertNoSecret({ ...mqtt });
      assertNoSecret(JSON.stringify({ run: mqtt.run(), trusted: mqtt.trusted }));
      await mqtt.disconnect();
      assertNoSecret(mqtt);
      assertNoSecret(await mqtt.run());
    }
    const sync = connectSync("127.0.0.1", undefined, { port, uname, passwd });
    assertNoSecret(sync);
    sync.disconnect();
    assertNoSecret(sync);
  } finally {
    process.stderr.write = write;
    await broker.stop();
  }
  assertNoSecret([...listened].join(""));
});

test(
  "credentials: none to a server that is not trusted, and the broker's own log has what it must",
  needs("mosquitto", "openssl"),
  async () => {
    const { ca, selfSigned } = certificates();
    const trusted = await startMosquitto({ tls: true, password: true });
    const stranger = await startScripted([], { tls: selfSigned });
    const tls = { ca, servername: "localhost" };
    const mqtt = await connect("127.0.0.1", undefined, { port: trusted.port, tls, ...credentials });
    await mqtt.disconnect();
    await failure(connect("127.0.0.1", undefined, { port: stranger.port, tls, ...credentials }));
    assert(stranger.received().length === 0, "not one byte of CONNECT");
    await stranger.stop();
    await trusted.stop();
  },
);
