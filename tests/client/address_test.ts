/** Where the broker is: every form of an address, and no way for a password to become one. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { connect, type ConnectOptions } from "../../mod.ts";
import { parseTarget } from "../../src/client/address.ts";
import type { TcpTarget } from "../../src/transport/tcp.ts";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { startScripted } from "../support/scripted.ts";
import { startMicrosocks, startMosquitto } from "../support/servers.ts";
import { modes } from "./modes.ts";

function tcpTarget(addr: string | URL, op: ConnectOptions = {}): TcpTarget {
  return parseTarget(addr, op).target as TcpTarget;
}

/** What `addr` and `op` mean, as "host port", with "tls" if it is on. */
function target(addr: string | URL, op: ConnectOptions = {}): string {
  const { host, port, tls } = tcpTarget(addr, op);
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

test("ws: and wss: are WebSockets: path and query are kept as they are written", () => {
  const rows: [string, string, string, string, string?][] = [
    // The address; where it goes; Host; what is asked for, by a text, and by an object.
    ["ws://localhost", "localhost 80", "localhost", "/mqtt"],
    ["WS://Broker.example:80", "broker.example 80", "broker.example", "/mqtt"],
    ["ws://localhost/", "localhost 80", "localhost", "/", "/mqtt"],
    ["ws://localhost?a=1", "localhost 80", "localhost", "/mqtt?a=1"],
    ["wss://localhost", "localhost 443 tls", "localhost", "/mqtt"],
    ["wss://localhost:8084/a/b", "localhost 8084 tls", "localhost:8084", "/a/b"],
    ["ws://[::1]:443/mqtt", "::1 443", "[::1]:443", "/mqtt"],
    ["ws://bücher.example/ws", "xn--bcher-kva.example 80", "xn--bcher-kva.example", "/ws"],
    [
      "wss://h/mqtt?X-Amz-Credential=A%2Fb&s=%C3%A4'+/=&e=",
      "h 443 tls",
      "h",
      "/mqtt?X-Amz-Credential=A%2Fb&s=%C3%A4'+/=&e=",
    ],
    ["ws://h/a%2fb/%41;c=d/ä b?ö", "h 80", "h", "/a%2fb/%41;c=d/%C3%A4%20b?%C3%B6"],
  ];
  for (const [addr, where, authority, text, object = text] of rows) {
    const login = addr.replace("://", "://us%40er:p%2Fw@");
    for (const [form, resource] of [[addr, text], [login, text], [new URL(addr), object]] as const) {
      const { websocket } = tcpTarget(form);
      // The standard writes a ' of the query of such an object in another way.
      const asked = typeof form === "string" ? websocket!.resource : websocket!.resource.replace("%27", "'");
      assertEquals([target(form).toLowerCase(), websocket!.authority.toLowerCase(), asked], [
        where,
        authority,
        resource,
      ]);
    }
    const { uname, passwd } = parseTarget(login, {});
    assertEquals([uname, passwd], ["us@er", "p/w"]);
  }
  assertEquals(target("ws://localhost", { tls: true }), "localhost 443 tls");
  assertEquals(target("ws://localhost:80", { tls: true }), "localhost 80 tls");
  assertEquals(target("wss://localhost:1", { port: 2 }), "localhost 2 tls");
});

test("the server of a WebSocket must be trusted to get what may be a secret", () => {
  const must = (addr: string, op?: ConnectOptions) => tcpTarget(addr, op).websocket!.mustTrust;
  assertEquals([must("wss://h"), must("wss://h/path"), must("wss://h", { tls: { ca: "-----BEGIN " } })], [
    false,
    false,
    false,
  ]);
  const secrets: [string, ConnectOptions?][] = [
    ["wss://u:p@h"],
    ["wss://h?token=1"],
    ["wss://h", { uname: "u" }],
    ["wss://h", { uname: () => "u" }],
    ["wss://h", { headers: { Authorization: "x" } }],
    ["wss://h", { tls: { untrusted: "reject" } }],
  ];
  for (const [addr, op] of secrets) assertEquals(must(addr, op), true, addr);
});

test("headers are an object of texts; what is not the program's to say, and line breaks, are refused", () => {
  const given = { "X-a": "1", Cookie: ["a=b", "c=ü\t "], none: undefined };
  const { headers } = tcpTarget("ws://h", { headers: given }).websocket!;
  assertEquals(headers, [["X-a", "1"], ["Cookie", "a=b"], ["Cookie", "c=ü"]]);
  const names = ["host", "Upgrade", "CONNECTION", "Sec-WebSocket-Key", "sec-websocket-protocol", "Content-Length"];
  const wrong: unknown[] = [
    ...[...names, "transfer-encoding", "a b", "a:", "", "ä", "a\r\nb"].map((name) => ({ [name]: "secret" })),
    ...["a\r\nb: secret", "a\nsecret", "\0secret", "secret€", 1, {}, ["secret", 1]].map((value) => ({ a: value })),
    ...[[["a", "secret"]], new Map([["a", "secret"]]), "secret", () => "secret"],
  ];
  for (const headers of wrong) {
    const error = assertThrows(() => target("ws://h", { headers } as ConnectOptions), TypeError, "Cannot use headers");
    assert(!error.message.includes("secret"), error.message);
  }
  for (const addr of ["h", "mqtts://h", "unix:///run/mqtt"]) {
    assertThrows(() => target(addr, { headers: { a: "b" } }), TypeError, "headers");
  }
});

test("unix: is the path of a socket, without anything of TCP", () => {
  const rows: Record<string, string> = {
    "unix:///run/mqtt.sock": "/run/mqtt.sock",
    "mqtt+unix:///run/mqtt.sock": "/run/mqtt.sock",
    "UNIX:///run/a%20b%3F%23%40%25": "/run/a b?#@%",
    "unix:///run/größe": "/run/größe",
    [`unix:///${"x".repeat(106)}`]: `/${"x".repeat(106)}`,
  };
  for (const [addr, path] of Object.entries(rows)) {
    for (const form of [addr, new URL(addr)]) {
      assertEquals(parseTarget(form, {}), { target: { path }, address: `unix:${path}` });
    }
  }
  assertThrows(() => target(`unix:///${"x".repeat(107)}`), RangeError, "107 bytes at most");
  assertThrows(() => target(`unix:///${"ü".repeat(54)}`), RangeError, "107 bytes at most");
  const options: ConnectOptions[] = [{ tls: true }, { tls: {} }, { proxy: "http://h" }, { port: 1883 }];
  for (const op of options) assertThrows(() => target("unix:///run/mqtt", op), TypeError, "with unix:");
  assertEquals(parseTarget("unix:///run/mqtt", { tls: false }).target, { path: "/run/mqtt" });
});

test("what is no address is a TypeError", () => {
  const forms = [
    ...["", " ", "a b", "localhost ", "a\0b", "localhost:", ":1883", "localhost:x", "localhost:-1", "localhost:1:2"],
    ...["localhost/path", "localhost?x", "localhost#x", "a%b", "a\\b", "[::1", "::1]", "[localhost]:1", "[::1]x", "[]"],
    ...["1:2:3", "::1%", "::1%a b", "[::1%25/]", "fe80::g", "a|b", "ä b", "ä/b", "mqtt:localhost", "localhost\n"],
    ...["mqtt://", "mqtt:///path", "mqtt://localhost/path", "mqtt://localhost?clientId=1"],
    ...["mqtt://localhost#a", "mqtts://localhost//", "mqtt://localhost:x", "mqtt://localhost\n", "mqtt://local\thost"],
    ...["mqtt://a%2Fb", "mqtt://a%20b", "mqtt://%zz@localhost", "mqtt://u:%@localhost", "mqtt://u:%ff@localhost"],
    ...["http://localhost", "ftp://localhost", "mqttx://localhost", "ws://", "ws:localhost"],
    ...[
      "ws://localhost/mqtt#a",
      "wss://localhost\\mqtt",
      "ws://localhost:x/mqtt",
      "ws://a b/mqtt",
      "ws+unix:///run/mqtt",
    ],
    ...["unix:///", "unix://", "unix:/run/mqtt", "unix://run/mqtt", "unix://localhost/run/mqtt", "unix:///run/mqtt?x"],
    ...["unix:///run/mqtt#x", "unix:///run/a%00b", "unix:///run/%zz", "unix:///run/%ff", "mqtt+unix://u:p@/run/mqtt"],
  ];
  for (const addr of forms) {
    const error = assertThrows(() => target(addr), TypeError, "Cannot use ", JSON.stringify(addr));
    const known = ["host", "mqtt://", "ws://", "unix://", "unix:///", "a", "u", ""].includes(addr.trim());
    assert(known || addr.length < 4 || !error.message.includes(addr), `it repeats ${addr}: ${error.message}`);
  }
  assertThrows(() => target("ws://localhost#x"), TypeError, "without a fragment");
  assertThrows(() => target("unix://run/mqtt"), TypeError, "unix:///path");
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
  const { target, ...login } = parseTarget(`mqtt://u:${encodeURIComponent(passwd)}@localhost:1`, {});
  const { host, port } = target as TcpTarget;
  assertEquals([host, port, login], ["localhost", 1, { address: "localhost:1", uname: "u", passwd }]);
  const { proxy } = tcpTarget("a", { proxy: `socks5h://u:${encodeURIComponent(passwd)}@b` });
  assertEquals(proxy, { protocol: "socks5", host: "b", port: 1080, uname: "u", passwd });
});

test("a user name without a URL is a TypeError that shows the URL", () => {
  const error = assertThrows(() => target("alice:secret@localhost"), TypeError, "mqtt://user:password@host");
  assert(!error.message.includes("secret"));
});

test("a proxy is a URL, too", () => {
  const proxy = (proxy: string | URL) => {
    const { protocol, host, port } = tcpTarget("localhost", { proxy }).proxy!;
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
