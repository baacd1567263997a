/** `mqtt3c doctor` names what is broken in its last line: each set-up is one that a person may have. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { startHttpProxy } from "../client/http_proxy.ts";
import { serveWebSocket } from "../support/aedes_websocket.ts";
import { certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { close, end, send, startScripted, wait } from "../support/scripted.ts";
import { credentials, freePort, type Server, startAedes, startMicrosocks, startMosquitto } from "../support/servers.ts";
import { mqtt3c, withRules } from "./support.ts";

const tools = needs("mosquitto", "openssl", "microsocks");

interface Setup {
  name: string;
  /** What stands there, if anything does. */
  start?: () => Promise<Server>;
  args: (port: number) => string[];
  env?: Record<string, string>;
  /** The beginning of the last line, or all of it. */
  says: RegExp;
  status: number;
}

const plain = (port: number) => ["-h", "127.0.0.1", "-p", `${port}`];
const secure = (port: number) => ["-L", `mqtts://localhost:${port}`, "--cafile", certificates().caFile];
const quick = ["-W", "1"];
const { server, expired, notYet, wrongName, unknown, selfSigned, client } = certificates();
const connack = (code: number) => [wait(14), send([32, 2, 0, code])];

async function startWeb(): Promise<Server> {
  const http = createServer((_, response) => response.writeHead(404).end());
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    port: (http.address() as AddressInfo).port,
    async stop() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

async function startWebSocket(): Promise<Server> {
  const { broker, stop } = await startAedes();
  const web = await serveWebSocket(broker);
  return { port: web.port, stop: () => web.stop().then(stop) };
}

const setups: Setup[] = [
  {
    name: "a name that nobody knows",
    args: () => ["-h", `${"x".repeat(60)}.invalid`],
    says: /^(name|resolver): /,
    status: 15,
  },
  {
    name: "a wrong port",
    args: () => plain(freePort()),
    says: /^refused: 127\.0\.0\.1:\d+: nobody listens/,
    status: 14,
  },
  {
    name: "a Unix socket that is not there",
    args: () => ["--unix", "/no/such/socket"],
    says: /^nosocket: /,
    status: 14,
  },
  {
    name: "TLS asked of a plain port",
    start: () => startMosquitto(),
    args: secure,
    says: /^plain: the port speaks MQTT without TLS; use mqtt:/,
    status: 8,
  },
  {
    name: "a port for TLS asked without",
    start: () => startMosquitto({ tls: true }),
    args: plain,
    says: /^tls: .*; use mqtts:/,
    status: 8,
  },
  {
    name: "a certificate that has expired",
    start: () => startMosquitto({ tls: expired }),
    args: secure,
    says: /^expired: the certificate of localhost has expired on 2020-12-31/,
    status: 8,
  },
  {
    name: "a certificate of the future, or a clock that is wrong",
    start: () => startMosquitto({ tls: notYet }),
    args: secure,
    says: /^notyet: .* from 2049-01-01.*clock/,
    status: 8,
  },
  {
    name: "a certificate for another name",
    start: () => startMosquitto({ tls: wrongName }),
    args: secure,
    says: /^wrongname: the certificate is for elsewhere\.example, and not for localhost/,
    status: 8,
  },
  {
    name: "an issuer that is not in --cafile",
    start: () => startMosquitto({ tls: unknown }),
    args: secure,
    says: /^issuer: the certificate's issuer, nobody, is none of those of --cafile/,
    status: 8,
  },
  {
    name: "an issuer that no public authority knows",
    start: () => startMosquitto({ tls: true }),
    args: (port) => ["-L", `mqtts://localhost:${port}`],
    says: /^issuer: .*mqtt3c tests, is none of the public authorities; .*--cafile/,
    status: 8,
  },
  {
    name: "a certificate that signed itself",
    start: () => startMosquitto({ tls: selfSigned }),
    args: secure,
    says: /^selfsigned: /,
    status: 8,
  },
  {
    name: "no certificate where one is wanted",
    start: () => startMosquitto({ clientCert: true }),
    args: secure,
    says: /^clientcert: the server wants a certificate of the client; give --cert and --key/,
    status: 8,
  },
  {
    name: "a client's certificate of an authority that the broker does not know",
    start: () => startMosquitto({ clientCert: true }),
    args: (port) => [...secure(port), "--cert", selfSigned.certFile, "--key", selfSigned.keyFile],
    says: /^clientcert: the server does not accept/,
    status: 8,
  },
  {
    name: "no user name where one is wanted",
    start: () => startMosquitto({ password: true }),
    args: plain,
    says: /^credentials: the broker wants a user name and a password/,
    status: 5,
  },
  {
    name: "a wrong password",
    start: () => startMosquitto({ password: true }),
    args: plain,
    env: { MQTT_USER: credentials.uname, MQTT_PASSWORD: "wrong" },
    says: /^notauthorized: .*user and password/,
    status: 5,
  },
  {
    name: "wrong credentials, said with another code",
    start: () => startScripted(connack(4)),
    args: plain,
    env: { MQTT_USER: "u", MQTT_PASSWORD: "wrong" },
    says: /^credentials: user name or password are wrong/,
    status: 4,
  },
  {
    name: "a broker without 3.1.1",
    start: () => startScripted(connack(1)),
    args: plain,
    says: /^version: /,
    status: 1,
  },
  {
    name: "an identifier that is refused",
    start: () => startScripted(connack(2)),
    args: plain,
    says: /^id: .*-i ID/,
    status: 2,
  },
  {
    name: "a broker that cannot",
    start: () => startScripted(connack(3)),
    args: plain,
    says: /^unavailable: /,
    status: 3,
  },
  {
    name: "a server that says nothing",
    start: () => startScripted(),
    args: plain,
    says: /^silent: .*CONNECT; /,
    status: 27,
  },
  {
    name: "a server that says nothing to TLS",
    start: () => startScripted(),
    args: secure,
    says: /^silent: .*handshake; /,
    status: 27,
  },
  { name: "a server that closes", start: () => startScripted([close]), args: plain, says: /^closed: /, status: 7 },
  {
    name: "a server that sends its end and reads on",
    start: () => startScripted([end]),
    args: plain,
    says: /^closed: /,
    status: 7,
  },
  {
    name: "a broker that is there for CONNECT, and then no more",
    start: () => startScripted(connack(0)),
    args: plain,
    says: /^halfopen: the broker has answered CONNECT, and nothing since; /,
    status: 27,
  },
  { name: "a web server", start: startWeb, args: plain, says: /^http: the port is one of a web server; /, status: 2 },
  {
    name: "another service",
    start: () => startScripted([send("SSH-2.0-nobody\r\n")]),
    args: plain,
    says: /^notmqtt: /,
    status: 2,
  },
  {
    name: "a web server without a WebSocket",
    start: startWeb,
    args: (port) => ["-L", `ws://127.0.0.1:${port}/mqtt`],
    says: /^websocket: .*404.*path/,
    status: 14,
  },
  {
    name: "wss: to a plain port",
    start: startWebSocket,
    args: (port) => ["-L", `wss://127.0.0.1:${port}`],
    says: /^plain: .*use ws:/,
    status: 8,
  },
  {
    name: "ws: to a port for TLS",
    start: () => startAedes({ tls: server }),
    args: (port) => ["-L", `ws://127.0.0.1:${port}`],
    says: /^tls: .*wss:/,
    status: 8,
  },
  {
    name: "a proxy that wants to know who asks",
    start: () => startHttpProxy("user:password"),
    args: (port) => ["-h", "broker.example", "--proxy", `http://127.0.0.1:${port}`],
    says: /^proxy: .*407/,
    status: 16,
  },
  {
    name: "a SOCKS proxy that refuses the password",
    start: () => startMicrosocks({ user: "user", password: "password" }),
    args: (port) => ["-h", "127.0.0.1", "--proxy", `socks5://user:wrong@127.0.0.1:${port}`],
    says: /^proxy: .*refused the user name and password/,
    status: 16,
  },
  {
    name: "a proxy that is not there",
    args: () => ["-h", "broker.example", "--proxy", `socks5://127.0.0.1:${freePort()}`],
    says: /^refused: 127\.0\.0\.1:\d+: nobody listens/,
    status: 14,
  },
];

for (const { name, start, args, env, says, status } of setups) {
  test(`doctor names ${name}`, tools, async () => {
    const broken = await start?.();
    try {
      const { code, stdout, stderr } = await mqtt3c(["doctor", ...quick, ...args(broken?.port ?? 0)], env);
      const last = stdout.trimEnd().split("\n").at(-1)!;
      assertMatch(last, says, `${stdout}${stderr}`);
      assertEquals([code, stderr], [status, ""], stdout);
      assert(stdout.split("\n").length < 24, "it fits a screen");
      for (const text of ["wrong@", "user:", "\x1b"]) assert(!stdout.includes(text), "no password, no colours");
    } finally {
      await broken?.stop();
    }
  });
}

test("doctor names what the broker's rules do not allow", tools, async () => {
  const cases: [rules: string, args: string[], says: RegExp, status: number][] = [
    [
      "topic other",
      [],
      /\nnotallowed: the broker refuses what is published to mqtt3c\/doctor\/\w+; this user may not publish it: /,
      135,
    ],
    [
      "topic other",
      ["-V", "311"],
      /\nnotdelivered: what is published to mqtt3c\/doctor\/\w+ does not come back; this user may not/,
      27,
    ],
    [
      "topic read #",
      ["-t", "mine"],
      /\nnotallowed: the broker refuses what is published to mine; this user may not publish it: /,
      135,
    ],
    ["topic write #", ["-t", "mine"], /\nnotdelivered: what is published to mine does not come back; /, 27],
    ["topic mine", ["-t", "mine"], /\nhealthy: /, 0],
  ];
  for (const [rules, args, says, status] of cases) {
    await withRules(rules, async ({ port }) => {
      const { code, stdout } = await mqtt3c(["doctor", ...quick, ...plain(port), ...args]);
      assertMatch(stdout, says);
      assertEquals(code, status);
    });
  }
  const { broker, port, stop } = await startAedes(); // mosquitto's rules refuse no subscription
  broker.authorizeSubscribe = (_, __, callback) => callback(null, null);
  try {
    const { code, stdout } = await mqtt3c(["doctor", ...quick, ...plain(port)]);
    assertMatch(stdout, /\nsubscription: the broker refuses the subscription to mqtt3c\/doctor\/\w+; /);
    assertEquals(code, 128);
    const sub = await mqtt3c(["sub", ...plain(port), "-t", "a", "-t", "b"]);
    assertEquals([sub.code, sub.stdout], [128, ""]);
  } finally {
    await stop();
  }
});

test(
  "doctor finds nothing where all is well: TCP, TLS with a client's certificate, WebSocket, proxy",
  tools,
  async () => {
    const mosquitto = await startMosquitto({ clientCert: true });
    const web = await startWebSocket(), proxy = await startMicrosocks(), tcp = await startMosquitto();
    const ways: [steps: string[], args: string[]][] = [
      [["name", "tcp"], ["-h", "localhost", "-p", `${tcp.port}`, "-i", "one"]],
      [["name", "tcp", "tls"], [...secure(mosquitto.port), "--cert", client.certFile, "--key", client.keyFile]],
      [["tcp", "websocket"], ["-L", `ws://127.0.0.1:${web.port}`]],
      [["tcp"], [...plain(tcp.port), "--proxy", `socks5://127.0.0.1:${proxy.port}`]],
    ];
    try {
      for (const [steps, args] of ways) {
        const { code, stdout, stderr } = await mqtt3c(["doctor", ...args, "--json"]);
        assertEquals([code, stderr], [0, ""], stdout);
        const report = JSON.parse(stdout);
        assertEquals(report.ok, true);
        assertEquals(
          report.steps.map(({ step }: { step: string }) => step),
          [...steps, "MQTT 3.1.1", "MQTT 5", "subscribe", "QoS 1", "QoS 0", "QoS 2", "retained"],
        );
        const has5 = !steps.includes("websocket"); // aedes has 3.1.1 only
        assertEquals(report.versions, has5 ? [4, 5] : [4]);
        for (const { step, result, milliseconds } of report.steps) {
          assertEquals(result, step === "MQTT 5" && !has5 ? "note" : "ok", stdout);
          assert(milliseconds >= 0, stdout);
        }
      }
      const { stdout } = await mqtt3c(["doctor", ...ways[1]![1]]);
      assertMatch(stdout, /ok +tls .*TLSv1\.3, localhost, 127\.0\.0\.1, from mqtt3c tests, until \d{4}-/);
      assertMatch(stdout, /\nhealthy: .*\n$/);
      const insecure = await mqtt3c([
        "doctor",
        "-L",
        `mqtts://localhost:${mosquitto.port}`,
        "--insecure",
        "--cert",
        client.certFile,
        "--key",
        client.keyFile,
      ]);
      assertEquals(insecure.code, 0, insecure.stdout);
      assertMatch(insecure.stdout, /note +tls .*not trusted: the certificate's issuer/);
    } finally {
      for (const each of [mosquitto, web, proxy, tcp]) await each.stop();
    }
  },
);

test("doctor tells which versions a broker speaks, and what it says that it can do", tools, async () => {
  const config = "max_qos 1\nretain_available false\nmax_packet_size 100000\nmax_inflight_messages 7";
  const limited = await startMosquitto({ config });
  /** Answers CONNECT of MQTT 5, and refuses that of 3.1.1: byte 8 is the level. */
  const only5 = await startScripted([
    wait(14),
    ({ socket, received }) => socket.write(new Uint8Array(received()[8] === 5 ? [32, 3, 0, 0, 0] : [32, 2, 0, 1])),
  ]);
  const refusing = await startScripted([wait(14), send([32, 3, 0, 138, 0])]);
  const only4 = await startAedes();
  try {
    const text = await mqtt3c(["doctor", ...plain(limited.port)]);
    assertEquals(text.code, 0, text.stdout);
    assertMatch(
      text.stdout,
      /ok +MQTT 5 .*takes QoS 1, 7 in flight, packets of 100,000 bytes, 10 topic aliases, keep alive 60 s, no retained messages\n/,
    );
    assertMatch(text.stdout, /note +QoS 2 .*does not take it, it says\n/);
    assertMatch(text.stdout, /note +retained .*does not keep retained messages, it says\n/);
    const { limits } = JSON.parse((await mqtt3c(["doctor", ...plain(limited.port), "--json"])).stdout);
    assertEquals([limits.maxQoS, limits.retain, limits.receiveMaximum], [1, false, 7]);

    const halfopen = await mqtt3c(["doctor", ...quick, ...plain(only5.port)]);
    assertMatch(halfopen.stdout, /note +MQTT 3\.1\.1 .*not spoken\n +ok +MQTT 5 .*accepted[^]*\nhalfopen: /);

    const banned = await mqtt3c(["doctor", ...quick, ...plain(refusing.port), "-V", "5"]);
    assertMatch(banned.stdout, /\nreason138: .*banned/);
    assertEquals(banned.code, 138);

    const old = await mqtt3c(["doctor", ...quick, ...plain(only4.port)]);
    assertMatch(old.stdout, /ok +MQTT 3\.1\.1 [^]*note +MQTT 5 [^]*\nhealthy: /);
    const wrong = await mqtt3c(["doctor", ...quick, ...plain(only4.port), "-V", "5"]);
    assertMatch(wrong.stdout, /\n(version|closed): /);
    assert(!/MQTT 3\.1\.1/.test(wrong.stdout), wrong.stdout);
  } finally {
    for (const each of [limited, only5, refusing, only4]) await each.stop();
  }
});
