/** Where the broker is: every form of an address, and no way for a password to become one. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { connect, type ConnectOptions } from "../../mod.ts";
import { parseTarget } from "../../src/client/address.ts";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { startScripted } from "../support/scripted.ts";
import { startMicrosocks, startMosquitto } from "../support/servers.ts";
import { modes } from "./modes.ts";

/** What `addr` and `op` mean, as "host port", with "tls" if it is on. */
function target(addr: string | URL, op: ConnectOptions = {}): string {
  const { host, port, tls } = parseTarget(addr, op).target;
  return [host, port, ...tls ? ["tls"] : []].join(" ");
}

test("an address is a name or an IP address, with a port or without", () => {
  const rows: Record<string, string> = {
    "localhost": "localhost 1883",
    "localhost:4711": "localhost 4711",
    "broker.example.": "broker.example. 1883",
    "my_broker:1": "my_broker 1",
    "Broker": "Broker 1883",
    "192.0.2.1": "192.0.2.1 1883",
    "192.0.2.1:65535": "192.0.2.1 65535",
    "::1": "::1 1883",
    "2001:db8::1883": "2001:db8::1883 1883",
    "::ffff:192.0.2.1": "::ffff:192.0.2.1 1883",
    "fe80::1%eth0": "fe80::1%eth0 1883",
    "[::1]": "::1 1883",
    "[::1]:4711": "::1 4711",
    "[fe80::1%eth0]:4711": "fe80::1%eth0 4711",
    "bücher.example": "xn--bcher-kva.example 1883",
    "Bücher.example:4711": "xn--bcher-kva.example 4711",
    "日本.example": "xn--wgv71a.example 1883",
    "xn--bcher-kva.example": "xn--bcher-kva.example 1883",
  };
  for (const [addr, expected] of Object.entries(rows)) assertEquals(target(addr), expected, addr);
});

test("a URL, as text or as an object, says whether TLS is on", () => {
  const rows: Record<string, string> = {
    "mqtt://localhost": "localhost 1883",
    "mqtt://localhost/": "localhost 1883",
    "MQTT://localhost:1": "localhost 1",
    "tcp://localhost": "localhost 1883",
    "tcp://[::1]:4711": "::1 4711",
    "mqtts://localhost": "localhost 8883 tls",
    "ssl://localhost": "localhost 8883 tls",
    "tls://localhost:4711": "localhost 4711 tls",
    "SSL://localhost": "localhost 8883 tls",
    "mqtt://bücher.example": "xn--bcher-kva.example 1883",
    "mqtts://u:p@b%C3%BCcher.example:1": "xn--bcher-kva.example 1 tls",
    "mqtt://my_broker": "my_broker 1883",
  };
  for (const [addr, expected] of Object.entries(rows)) {
    assertEquals(target(addr), expected, addr);
    assertEquals(target(new URL(addr)), expected, `the object of ${addr}`);
  }
  assertEquals(target("mqtt://localhost", { tls: true }), "localhost 8883 tls");
  assertEquals(target("mqtts://localhost:1", { port: 2 }), "localhost 2 tls", "the port of the options wins");
  assertEquals(target("localhost:1", { port: 2 }), "localhost 2");
});

test("what is no address is a TypeError", () => {
  const forms = [
    ...["", " ", "a b", "localhost ", "a\0b", "localhost:", ":1883", "localhost:x", "localhost:-1", "localhost:1:2"],
    ...["localhost/path", "localhost?x", "localhost#x", "a%b", "a\\b", "[::1", "::1]", "[localhost]:1", "[::1]x", "[]"],
    ...["1:2:3", "::1%", "::1%a b", "[::1%25/]", "fe80::g", "a|b", "ä b", "ä/b", "mqtt:localhost", "localhost\n"],
    ...["mqtt://", "mqtt:///path", "mqtt://localhost/path", "mqtt://localhost?clientId=1"],
    ...["mqtt://localhost#a", "mqtts://localhost//", "mqtt://localhost:x", "mqtt://localhost\n", "mqtt://local\thost"],
    ...["mqtt://a%2Fb", "mqtt://a%20b", "mqtt://%zz@localhost", "mqtt://u:%@localhost", "mqtt://u:%ff@localhost"],
    ...["http://localhost", "ftp://localhost", "mqttx://localhost", "ws://localhost", "wss://localhost/mqtt"],
    ...["unix:///run/mqtt", "mqtt+unix:///run/mqtt"],
  ];
  for (const addr of forms) {
    const error = assertThrows(() => target(addr), TypeError, "Cannot use ", JSON.stringify(addr));
    const known = ["host", "mqtt://", "a", "u", ""].includes(addr.trim());
    assert(known || addr.length < 4 || !error.message.includes(addr), `it repeats ${addr}: ${error.message}`);
  }
  assertThrows(() => target("ws://localhost"), TypeError, "not supported yet");
  assertThrows(() => target("unix:///run/mqtt"), TypeError, "not supported yet");
  assertThrows(() => target("ssl://localhost", { tls: false }), TypeError, "on with ssl:");
  for (const addr of ["localhost:0", "localhost:65536", "mqtt://localhost:0"]) {
    assertThrows(() => target(addr), RangeError, "port", addr);
  }
  for (const letter of ["n", "ü"]) {
    assertThrows(() => target(`${letter.repeat(256)}.example`), RangeError, "the host name has 255 bytes at most");
  }
});

/** Passwords that end the host early, or make it another one, in a URL that does not percent-encode them. */
const unescaped = [
  ...["#secret@broker", "4711#secret@broker", "4711/secret@broker", "4711?secret@broker", "1/se?cr#et@broker"],
  ...["u:pa#secret@broker", "u:1#secret@broker", "u:1/secret@broker", "u:1?secret@broker", "u:sec/ret@broker"],
  ...["u:sec?ret@broker", "u:p@ss/secret@broker", "u:p@1:2/secret@broker", "u:sec\nret@broker", "u:sec%ret@broker"],
];

test("a password that is not percent-encoded is a TypeError that says so, and nothing is sent anywhere", async () => {
  const server = await startScripted();
  const here = `127.0.0.1:${server.port}`;
  const urls = [
    ...unescaped.flatMap((rest) => ["mqtt", "mqtts", "tcp"].map((scheme) => `${scheme}://${rest}`)),
    ...["#", "/", "?"].map((letter) => `mqtt://${here}${letter}secret@broker`),
    ...["#", "/", "?"].map((letter) => `mqtt://u:p@${here}${letter}secret@broker`),
  ];
  try {
    for (const [mode, open] of modes) {
      for (const url of urls) {
        const error = await assertRejects(() => open(url, undefined, { timeout: 1000 }), TypeError, "", url);
        const told = `${error.message} ${error.stack} ${error.cause}`;
        for (const secret of ["secret", "sec/ret", "4711", "broker@", "@broker", here]) {
          assert(!told.includes(secret), `${mode}, ${url}: ${error.message}`);
        }
        if (!/[\n]/.test(url)) assert(error.message.includes("percent-encode"), `${url}: ${error.message}`);
      }
    }
    for (const rest of unescaped) {
      for (const scheme of ["socks5", "socks5h", "http"]) {
        const op = { port: server.port, proxy: `${scheme}://${rest}`, timeout: 1000 };
        const error = await assertRejects(() => connect("127.0.0.1", undefined, op), TypeError, "", op.proxy);
        assert(!`${error.message} ${error.stack}`.includes("secret"), error.message);
        if (!/[\n]/.test(rest)) assert(error.message.includes("percent-encode"), `${op.proxy}: ${error.message}`);
      }
    }
    for (const url of urls.filter((url) => !/[\n]/.test(url) && URL.canParse(url))) {
      await assertRejects(() => connect(new URL(url)), TypeError, "percent-encode", url);
    }
    assertEquals(server.peers.length, 0);
  } finally {
    await server.stop();
  }
});

test("percent-encoded, any password arrives", () => {
  const passwd = "#/?@:%[]\\ ü\n\t&=+";
  const { target: { host, port }, ...login } = parseTarget(`mqtt://u:${encodeURIComponent(passwd)}@localhost:1`, {});
  assertEquals([host, port, login], ["localhost", 1, { address: "localhost:1", uname: "u", passwd }]);
  const { proxy } = parseTarget("a", { proxy: `socks5h://u:${encodeURIComponent(passwd)}@b` }).target;
  assertEquals(proxy, { protocol: "socks5", host: "b", port: 1080, uname: "u", passwd });
});

test("a user name without a URL is a TypeError that shows the URL", () => {
  const error = assertThrows(() => target("alice:secret@localhost"), TypeError, "mqtt://user:password@host");
  assert(!error.message.includes("secret"));
});

test("a proxy is a URL, too", () => {
  const proxy = (proxy: string | URL) => {
    const { protocol, host, port } = parseTarget("localhost", { proxy }).target.proxy!;
    return `${protocol} ${host} ${port}`;
  };
  assertEquals(proxy("socks5://localhost"), "socks5 localhost 1080");
  assertEquals(proxy("socks5h://[::1]:1"), "socks5 ::1 1");
  assertEquals(proxy(new URL("http://localhost:8080/")), "http localhost 8080");
  assertEquals(proxy("http://bücher.example"), "http xn--bcher-kva.example 80");
  for (const wrong of ["http://localhost/path", "http://localhost?x", "socks5://localhost#x", "socks4://a", "a:1080"]) {
    assertThrows(() => proxy(wrong), TypeError, "the proxy's URL", wrong);
  }
  for (const wrong of [{ host: "a" }, true, 1080]) assertThrows(() => proxy(wrong as never), TypeError, "proxy");
  assertThrows(() => proxy("socks5://localhost:0"), RangeError, "the proxy's port");
});

test("every form leads to the broker, in every mode", needs("mosquitto", "microsocks", "openssl"), async () => {
  const plain = await startMosquitto(), secure = await startMosquitto({ tls: true });
  const socks = await startMicrosocks();
  const tls = { ca: certificates().ca };
  const rows: [string | URL, ConnectOptions][] = [
    [`127.0.0.1:${plain.port}`, {}],
    [new URL(`tcp://127.0.0.1:${plain.port}`), {}],
    [`ssl://localhost:${secure.port}`, { tls }],
    [new URL(`tls://u:p@127.0.0.1:${secure.port}/`), { tls }],
    [`127.0.0.1:${plain.port}`, { proxy: new URL(`socks5h://127.0.0.1:${socks.port}`) }],
  ];
  try {
    for (const [, open] of modes) {
      for (const [addr, op] of rows) {
        const mqtt = await open(addr, undefined, { timeout: 5000, ...op });
        await mqtt.disconnect();
      }
    }
  } finally {
    await Promise.all([plain.stop(), secure.stop(), socks.stop()]);
  }
});
