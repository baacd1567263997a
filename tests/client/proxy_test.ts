/** The proxies' protocols, byte for byte: SOCKS5 (RFC 1928, RFC 1929) and HTTP CONNECT (RFC 9110). */
import { test } from "node:test";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { connect, type ConnectOptions } from "../../mod.ts";
import { type Action, type Scripted, send, startScripted, wait } from "../support/scripted.ts";
import { endsToo, failure } from "./support.ts";

const hex = (text: string) => Uint8Array.from(text.split(" ").filter(Boolean), (byte) => parseInt(byte, 16));
const latin1 = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** Sends every byte on its own. */
const trickle = (bytes: Uint8Array): Action => async ({ socket }) => {
  for (const byte of bytes) {
    await new Promise((sent) => socket.write(Uint8Array.of(byte), sent));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
};

/** CONNECT of MQTT with the identifier "ID", and what the broker says to it. */
const mqtt = latin1("\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02ID");
const broker: Action[] = [send(hex("20 02 00 00")), endsToo];

async function through(
  proxy: (port: number) => string,
  script: Action[],
  host = "broker.example",
  op: ConnectOptions = {},
): Promise<Uint8Array> {
  const server: Scripted = await startScripted(script);
  try {
    const options = { id: "ID", keepalive: 0, timeout: 3000, port: 1883, proxy: proxy(server.port), ...op };
    const client = await connect(host, undefined, options);
    await client.disconnect();
    return server.received();
  } finally {
    await server.stop();
  }
}

/** Host, and the SOCKS5 request for it with port 1883. */
const requests: [string, string][] = [
  ["broker.example", "05 01 00 03 0e 62 72 6f 6b 65 72 2e 65 78 61 6d 70 6c 65 07 5b"],
  ["127.0.0.1", "05 01 00 01 7f 00 00 01 07 5b"],
  ["::1", "05 01 00 04 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 07 5b"],
  ["2001:db8::8:800:200c:417a", "05 01 00 04 20 01 0d b8 00 00 00 00 00 08 08 00 20 0c 41 7a 07 5b"],
  ["1:2:3:4:5:6:7:8", "05 01 00 04 00 01 00 02 00 03 00 04 00 05 00 06 00 07 00 08 07 5b"],
  ["::ffff:192.0.2.1", "05 01 00 04 00 00 00 00 00 00 00 00 00 00 ff ff c0 00 02 01 07 5b"],
  ["mqtt://[2001:db8::1]:1883", "05 01 00 04 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 07 5b"],
];

for (const [host, request] of requests) {
  test(`SOCKS5 is asked for ${host}`, async () => {
    const asked = hex(request);
    const script = [wait(3), send(hex("05 00")), wait(3 + asked.length), send(hex("05 00 00 01 7f 00 00 01 12 34"))];
    const all = 3 + asked.length + mqtt.length;
    const sent = await through((port) => `socks5://127.0.0.1:${port}`, [...script, wait(all), ...broker], host);
    assertEquals(sent.join(), [...hex("05 01 00"), ...asked, ...mqtt, 0xe0, 0].join());
  });
}

const bound = {
  "an IPv4 address": "01 7f 00 00 01",
  "an IPv6 address": "04 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01",
  "a name": "03 05 68 65 6c 6c 6f",
  "an empty name": "03 00",
};

for (const [what, address] of Object.entries(bound)) {
  test(`SOCKS5 answers that it bound ${what}, byte by byte`, async () => {
    const asked = hex(requests[0]![1]);
    const script = [
      ...[wait(3), trickle(hex("05 00")), wait(3 + asked.length), trickle(hex(`05 00 00 ${address} 12 34`))],
      ...[wait(3 + asked.length + mqtt.length), ...broker],
    ];
    await through((port) => `socks5://127.0.0.1:${port}`, script);
  });
}

test("SOCKS5 gets the user name and password when it wants them, and not otherwise", async () => {
  const login = "\x01\x05us@er\x05p:w\xc3\xbc";
  const asked = hex(requests[0]![1]);
  const url = (port: number) => `socks5://us%40er:p%3Aw%C3%BC@127.0.0.1:${port}`;
  const granted = hex("05 00 00 01 00 00 00 00 00 00");
  const locked = [
    ...[wait(4), trickle(hex("05 02")), wait(4 + login.length), trickle(hex("01 00"))],
    ...[wait(4 + login.length + asked.length), trickle(granted)],
  ];
  const length = 4 + login.length + asked.length + mqtt.length;
  const withLogin = await through(url, [...locked, wait(length), ...broker]);
  assertEquals(withLogin.join(), [...hex("05 02 00 02"), ...latin1(login), ...asked, ...mqtt, 0xe0, 0].join());

  const open = [wait(4), send(hex("05 00")), wait(4 + asked.length), send(granted)];
  const without = await through(url, [...open, wait(4 + asked.length + mqtt.length), ...broker]);
  assertEquals(without.join(), [...hex("05 02 00 02"), ...asked, ...mqtt, 0xe0, 0].join());
});

test("SOCKS5 says why it cannot, and the error repeats it", async () => {
  const reasons = ["general failure", "not allowed", "network unreachable", "host unreachable", "refused", "expired"];
  for (const [i, reason] of reasons.entries()) {
    const script = [wait(3), send(hex("05 00")), wait(4), send(hex(`05 0${i + 1} 00 01 00 00 00 00 00 00`))];
    const error = await failure(through((port) => `socks5://127.0.0.1:${port}`, script));
    assertEquals(error.code, "proxy");
    assertStringIncludes(error.message, reason);
    assertStringIncludes(error.message, "broker.example");
  }
});

const heads = {
  "HTTP/1.1": "HTTP/1.1 200 Connection established\r\n\r\n",
  "HTTP/1.0 with a header": "HTTP/1.0 200 OK\r\nProxy-Agent: test\r\n\r\n",
  "another 2xx and no reason": "HTTP/1.1 204 \r\nVia: 1.1 a, 1.1 b\r\n\r\n",
};

for (const [what, head] of Object.entries(heads)) {
  test(`HTTP CONNECT is answered in ${what}, byte by byte`, async () => {
    const expected = "CONNECT broker.example:1883 HTTP/1.1\r\nHost: broker.example:1883\r\n\r\n";
    const script = [wait(expected.length), trickle(latin1(head)), wait(expected.length + mqtt.length), ...broker];
    const sent = await through((port) => `http://127.0.0.1:${port}`, script);
    assertEquals(sent.join(), [...latin1(expected), ...mqtt, 0xe0, 0].join());
  });
}

test("HTTP CONNECT with credentials, to an IPv6 address", async () => {
  const head = "CONNECT [::1]:1883 HTTP/1.1\r\nHost: [::1]:1883\r\n" +
    "Proxy-Authorization: Basic dXNAZXI6cDp3w7w=\r\n\r\n";
  const ok = send("HTTP/1.1 200 OK\r\n\r\n");
  const script = [wait(head.length), ok, wait(head.length + mqtt.length), ...broker];
  const sent = await through((port) => `http://us%40er:p%3Aw%C3%BC@127.0.0.1:${port}`, script, "::1");
  assertEquals(sent.join(), [...latin1(head), ...mqtt, 0xe0, 0].join());
});

test("HTTP CONNECT refused: the error says how, and an answer without end is given up", async () => {
  const refused = await failure(
    through((port) => `http://127.0.0.1:${port}`, [wait(9), send("HTTP/1.1 407 No\r\n\r\n")]),
  );
  assertEquals(refused.code, "proxy");
  assertStringIncludes(refused.message, "407 No");
  const endless = send(`HTTP/1.1 200 OK\r\n${"X-Filler: x\r\n".repeat(10_000)}`);
  const error = await failure(through((port) => `http://127.0.0.1:${port}`, [wait(9), endless]));
  assertEquals(error.code, "proxy");
});

test("bytes that come right behind the proxy's answer are not lost", async () => {
  const early = hex("05 00 00 01 00 00 00 00 00 00 20 02 00 00");
  await through((port) => `socks5://127.0.0.1:${port}`, [wait(3), send(hex("05 00")), wait(4), send(early), endsToo]);
});
