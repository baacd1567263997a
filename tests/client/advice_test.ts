/** What an error tells a person to do. */
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connect, MqttError } from "../../mod.ts";
import { CONNACK } from "../../src/protocol/packet.ts";
import { connectionRefused, endedEarly, notConnack } from "../../src/session/connack.ts";
import { needs, run } from "../support/process.ts";
import { type Action, close, end, reset, send, startScripted, wait } from "../support/scripted.ts";
import { startMosquitto } from "../support/servers.ts";
import { runtime } from "../support/spawn.ts";
import { modes } from "./modes.ts";
import { failure } from "./support.ts";

test("TLS to mosquitto's plain port: is this a TLS port?", needs("mosquitto"), async () => {
  const mosquitto = await startMosquitto();
  try {
    for (const [, open] of modes) {
      const error = await failure(open("localhost", undefined, { port: mosquitto.port, tls: true, timeout: 5000 }));
      assertEquals(error.code, "tls");
      assertStringIncludes(error.message, "is this a TLS port?");
    }
  } finally {
    await mosquitto.stop();
  }
});

const answers: [string, Action[]][] = [
  ["HTTP", [wait(1), send("HTTP/1.1 400 Bad Request\r\n\r\n"), close]],
  ["MQTT", [wait(1), send([0x20, 2, 0, 0, 0x30, 3, 0, 1, 0x61])]],
  ["close", [close]],
  ["FIN", [wait(1), end]],
  ["reset", [wait(1), reset]],
];

for (const [what, script] of answers) {
  test(`TLS to a server that answers with ${what}: is this a TLS port?`, async () => {
    const server = await startScripted(script);
    try {
      const error = await failure(connect("127.0.0.1", undefined, { port: server.port, tls: true, timeout: 3000 }));
      assertEquals(error.code, "tls");
      assertStringIncludes(error.message, "is this a TLS port?");
    } finally {
      await server.stop();
    }
  });
}

test("plain MQTT to mosquitto's TLS port: use mqtts:, in every mode", needs("mosquitto", "openssl"), async () => {
  const mosquitto = await startMosquitto({ tls: true });
  try {
    for (const [, open] of modes) {
      const error = await failure(open("localhost", undefined, { port: mosquitto.port, timeout: 5000 }));
      assert(error.code === "socketclosed" || error.code === "invalidresp", `${error.code}`);
      assertMatch(error.message, /TLS.*mqtts:/);
    }
  } finally {
    await mosquitto.stop();
  }
});

test(
  "mosquitto refuses who gives no password, or a wrong one: what was given is told",
  needs("mosquitto"),
  async () => {
    const mosquitto = await startMosquitto({ password: true });
    try {
      for (const [, open] of modes) {
        const nothing = await failure(open("localhost", undefined, { port: mosquitto.port, timeout: 5000 }));
        assertEquals(nothing.code, 5);
        assertStringIncludes(nothing.message, "check uname and passwd; none were given");
        const wrong = { port: mosquitto.port, timeout: 5000, uname: "user", passwd: "wrong" };
        assertStringIncludes((await failure(open("localhost", undefined, wrong))).message, "passwd; both were given");
      }
    } finally {
      await mosquitto.stop();
    }
  },
);

test("an end before CONNACK: is this a TLS port? unless TLS is on", () => {
  const cause = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });
  const error = endedEarly(new MqttError("socketclosed", "The connection was closed", cause), false);
  assertEquals([error.code, error.cause], ["socketclosed", cause]);
  assertMatch(error.message, /closed before CONNACK \(read ECONNRESET\): is this a TLS port\? .*mqtts:/);
  const secure = endedEarly(new MqttError("socketclosed", "The connection was closed"), true);
  assertEquals(secure.message, "The connection was closed before CONNACK");
  const other = new MqttError("timeout", "late");
  assertEquals(endedEarly(other, false), other);
  // A reason that the server gave has no code of the runtime: it was understood.
  const told = endedEarly(new MqttError("socketclosed", "x", new Error("WebSocket close code 1008")), false);
  assertEquals(told.message, "The connection was closed before CONNACK (WebSocket close code 1008)");
});

test("an answer that is no CONNACK: whose it is", () => {
  const message = (...head: number[]) => {
    const error = notConnack(head, 4);
    assertEquals(error.code, "invalidresp");
    assertMatch(error.message, /\[MQTT-3\.2\.0-1\]$/);
    return error.message;
  };
  assertStringIncludes(message(0x15, 3, 3, 0), "15 03 03 00, is not a CONNACK of MQTT 3.1.1: it is a TLS server's");
  assertStringIncludes(message(0x15), "TLS");
  assertStringIncludes(message(0x48, 0x54, 0x54, 0x50), "HTTP server's");
  for (const head of [[0x20, 0], [0x15, 9], [0x48, 0x49], [0x90]]) {
    assertStringIncludes(message(...head), "is this port an MQTT broker's?");
  }
});

test("refused with 4 or 5: check uname and passwd, and whether any were given", () => {
  const connack = (code: number) => ({ type: CONNACK, sessionPresent: false, code }) as const;
  for (const code of [4, 5, 134, 135].map(connack)) {
    assertStringIncludes(connectionRefused(code, "none").message, "passwd; none were given");
    assertStringIncludes(connectionRefused(code, "uname").message, "passwd; no passwd was given");
    assertStringIncludes(connectionRefused(code, "both").message, "passwd; both were given");
  }
  for (const code of [1, 2, 3, 136].map(connack)) assert(!connectionRefused(code, "both").message.includes("passwd"));
});

if (runtime === "deno") {
  const connecting = async (address: string, ...permissions: string[]) => {
    const script = join(import.meta.dirname!, "denied.ts");
    const args = ["run", "-q", "--no-check", "--no-prompt", "--allow-read", ...permissions, script, address];
    const { stdout, stderr } = await run(process.execPath, args);
    assertEquals(
      stdout.trim().split("\n").map((line) => line.split(": ")[1]),
      new Array(3).fill("cannotconnect"),
      stderr,
    );
    return stdout;
  };

  test("Deno without the permission: cannotconnect, with the flag that is missing, in every mode", async () => {
    for (
      const [address, flag] of [
        ["127.0.0.1", "127.0.0.1:1883"],
        ["localhost:4711", "localhost:4711"],
        ["[::1]:4711", "[::1]:4711"],
        ["mqtts://localhost", "localhost:8883"],
      ] as const
    ) {
      const told = await connecting(address);
      for (const line of told.trim().split("\n")) {
        assert(line.endsWith(`permission is missing: run with --allow-net=${flag}`), line);
      }
    }
    // With what the message asks for, there is nobody to connect to.
    const told = await connecting("127.0.0.1:1", "--allow-net=127.0.0.1:1");
    for (const line of told.trim().split("\n")) assertStringIncludes(line, "is a server running there?");
  });
}
