/** The options by name: one that does not exist is told with the one that is meant, and undefined is not given. */
import { test } from "node:test";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Client,
  connect,
  type ConnectOptions,
  type ConnectProperties,
  type DisconnectOptions,
  fileStore,
  type Message,
  type MessagesOptions,
  type OnPublish,
  type PublishOptions,
  type ReconnectOptions,
  type SubscribeOptions,
  type SubscriptionOptions,
  type TlsOptions,
  type Will,
} from "../../mod.ts";
import {
  checkCallback,
  checkDisconnect,
  parseMessages,
  parseSubscribe,
  publishFlags,
} from "../../src/client/arguments.ts";
import { parseSettings } from "../../src/client/settings.ts";
import { needs } from "../support/process.ts";
import { send, startScripted, wait } from "../support/scripted.ts";
import { startMosquitto } from "../support/servers.ts";
import { modes } from "./modes.ts";
import { endsToo } from "./support.ts";

const accept = [wait(14), send([0x20, 2, 0, 0]), endsToo];

/** Options that do not exist, and what their errors say. */
const unknown: [ConnectOptions, string][] = ([
  [{ username: "u" }, "username as connect() has no such option: use uname"],
  [{ userName: "u" }, "use uname"],
  [{ user: "u" }, "use uname"],
  [{ password: "p" }, "use passwd"],
  [{ clientId: "c" }, "use id"],
  [{ client_id: "c" }, "use id"],
  [{ clientID: "c" }, "use id"],
  [{ host: "h" }, "the address is the first argument"],
  [{ hostname: "h" }, "the address is the first argument"],
  [{ clean: true }, "use session"],
  [{ cleanSession: false }, "use session"],
  [{ reconnectPeriod: 1000 }, "use reconnect"],
  [{ connectTimeout: 1000 }, "use timeout"],
  [{ protocolVersion: 5 }, "use version"],
  [{ resubscribe: true }, "it always does"],
  [{ nocheck: true }, "leave it out"],
  [{ rejectUnauthorized: false }, "use tls.untrusted"],
  [{ ca: "x" }, "use tls.ca"],
  [{ cert: "x" }, "use tls.cert"],
  [{ key: "x" }, "use tls.key"],
  [{ passphrase: "x" }, "use tls.passphrase"],
  [{ onpub: () => {} }, "it is the second argument"],
  [{ lastWill: {} }, "use will"],
  [{ minDelay: 1 }, "use reconnect.minDelay"],
  [{ tiemout: 1 }, "did you mean timeout?"],
  [{ keepAlive: 1 }, "did you mean keepalive?"],
  [{ unmae: "u" }, "did you mean uname?"],
  [{ max_packet_size: 1 }, "did you mean maxPacketSize?"],
  [{ prot: 1 }, "did you mean port?"],
  [{ sesion: true }, "did you mean session?"],
  [{ constructor: 1 }, "it has port, tls, keepalive"],
  [{ toString: 1 }, "connect() has no such option"],
  [{ somethingElse: 1 }, "it has port, tls, keepalive"],
  [{ tls: { rejectUnauthorized: false } }, "tls.rejectUnauthorized as connect() has no such option: use tls.untrusted"],
  [{ tls: { caCerts: [] } }, "use tls.ca"],
  [{ tls: { ALPNProtocols: [] } }, "use tls.alpn"],
  [{ tls: { minversion: "TLSv1.2" } }, "did you mean tls.minVersion?"],
  [{ will: { topic: "t", payload: "p" } }, "will.payload as connect() has no such option: use will.message"],
  [{ will: { topic: "t", message: "m", retained: true } }, "did you mean will.retain?"],
  [{ reconnect: { period: 1 } }, "reconnect.period as connect() has no such option: use reconnect.minDelay"],
  [{ reconnect: { maxdelay: 1 } }, "did you mean reconnect.maxDelay?"],
  [{ reconnect: { maxRetries: 1 } }, "use reconnect.attempts"],
  [{ servers: ["a"] }, "the addresses are the first argument, as a list"],
  [{ ofline: true }, "did you mean offline?"],
  [{ topics: ["a"] }, "use subscriptions: { filter: onpub }"],
  [{ subscriptions: { a: { Qos: 1 } } }, "did you mean qos?"],
] as [unknown, string][]) as [ConnectOptions, string][];

test("an option that does not exist is a TypeError with the one that is meant, in every mode", async () => {
  const server = await startScripted(accept);
  try {
    for (const [, open] of modes) {
      for (const [op, message] of unknown) {
        const what = JSON.stringify(op);
        const error = await assertRejects(
          () => open("127.0.0.1", undefined, { port: server.port, timeout: 500, ...op }),
          TypeError,
          message,
          what,
        );
        assert(error.message.startsWith("Cannot use "), error.message);
      }
    }
    assertEquals(server.peers.length, 0);
  } finally {
    await server.stop();
  }
});

test("null is no value: the message says to leave it out, in every mode", async () => {
  const options = Object.keys(everything).map((name) => ({ [name]: null }));
  const nested = [
    ...Object.keys(everything.tls as TlsOptions).map((name) => ({ tls: { [name]: null } })),
    ...["qos", "retain"].map((name) => ({ will: { topic: "t", message: "m", [name]: null } })),
    ...Object.keys(everything.reconnect as ReconnectOptions).map((name) => ({ reconnect: { [name]: null } })),
  ];
  for (const [, open] of modes) {
    for (const op of [...options, ...nested] as ConnectOptions[]) {
      const error = await assertRejects(() => open("127.0.0.1", undefined, op), TypeError, "", JSON.stringify(op));
      assert(error.message.includes("null: leave it out"), `${JSON.stringify(op)}: ${error.message}`);
    }
    await assertRejects(() => open("127.0.0.1", undefined, null as never), TypeError, "op as null: leave it out");
  }
});

/** Every option, of the type that has them all: one that is new in the types is missed here, and in the names. */
const everything: Required<ConnectOptions> = {
  port: 1883,
  tls: {
    ca: undefined,
    cert: undefined,
    key: undefined,
    passphrase: undefined,
    pfx: undefined,
    servername: "localhost",
    alpn: ["mqtt"],
    minVersion: "TLSv1.2",
    ciphers: undefined,
    untrusted: "reject",
  } satisfies Required<TlsOptions>,
  keepalive: 60,
  id: "ID",
  version: 5,
  topicAliases: 5,
  checkFormat: true,
  properties: { user: [["a", "b"]], requestResponse: true, requestProblem: false } satisfies Required<
    ConnectProperties
  >,
  auth: { method: "M", data: new Uint8Array(1), answer: (data) => data },
  uname: "u",
  passwd: "p",
  will: { topic: "t", message: "m", qos: 1, retain: true, delay: 0, expiry: 1, properties: {} } satisfies Required<
    Will
  >,
  session: 60,
  timeout: 1000,
  proxy: "http://localhost",
  headers: { Cookie: ["a=b"] },
  maxPacketSize: 1000,
  maxBuffered: 1000,
  receiveMaximum: 100,
  maxInflight: 10,
  sessionLost: "resend",
  store: fileStore("none"),
  onstatus: () => {},
  reconnect: { minDelay: 1, maxDelay: 2, stableAfter: 3, attempts: 4 } satisfies Required<ReconnectOptions>,
  offline: true,
  subscriptions: { a: () => {}, b: { qos: 1, onpub: () => {}, concurrency: 2 }, c: undefined },
  signal: new AbortController().signal,
  trace: () => {},
};

test("every option of the types is known by its name", () => {
  parseSettings(everything);
  const publish: Required<PublishOptions> = {
    qos: 2,
    retain: true,
    expiry: 1,
    until: "stored",
    signal: new AbortController().signal,
    properties: {},
  };
  const of5: Required<SubscriptionOptions> = {
    noLocal: true,
    retainAsPublished: true,
    retainHandling: 2,
    id: 1,
    properties: { user: [] },
  };
  const subscribe: Required<SubscribeOptions> = { qos: 0, onpub: () => {}, concurrency: 2, ...of5 };
  const messages: Required<MessagesOptions> = { qos: 0, limit: 1, ...of5 };
  assertEquals<unknown>(parseSubscribe(subscribe), subscribe);
  assertEquals<unknown>(parseMessages(messages), messages);
  const disconnect: Required<DisconnectOptions> = { drain: true, will: true, session: 0, properties: { user: [] } };
  assertEquals<unknown>(checkDisconnect(disconnect), disconnect);
  assertEquals(publishFlags(publish), 5);
});

test("undefined is not given, whatever the option, and the types agree", async () => {
  const tls: TlsOptions = { ca: undefined, cert: undefined, key: undefined, passphrase: undefined, pfx: undefined };
  const more: TlsOptions = { servername: undefined, alpn: undefined, minVersion: undefined, ciphers: undefined };
  parseSettings({ tls: { ...tls, ...more, untrusted: undefined } });
  parseSettings({ will: { topic: "t", message: "m", qos: undefined, retain: undefined } });
  parseSettings({
    reconnect: { minDelay: undefined, maxDelay: undefined, stableAfter: undefined, attempts: undefined },
  });
  const op: ConnectOptions = {
    port: undefined,
    tls: undefined,
    keepalive: undefined,
    id: undefined,
    uname: undefined,
    passwd: undefined,
    will: undefined,
    session: undefined,
    timeout: undefined,
    proxy: undefined,
    headers: undefined,
    maxPacketSize: undefined,
    maxBuffered: undefined,
    reconnect: undefined,
    offline: undefined,
    subscriptions: undefined,
    signal: undefined,
    trace: undefined,
  };
  const foreign = { username: undefined } as ConnectOptions;
  const server = await startScripted([...accept, wait(51), send([0x90, 3, 0, 1, 0])]);
  try {
    const mqtt = await connect(`127.0.0.1:${server.port}`, undefined, { ...op, ...foreign });
    const options = { qos: undefined, retain: undefined } satisfies PublishOptions;
    await mqtt.publish("t", "m", options);
    await mqtt.subscribe("t", { qos: undefined, onpub: undefined } satisfies SubscribeOptions);
    mqtt.messages("t", { qos: undefined, limit: undefined } satisfies MessagesOptions);
    await mqtt.disconnect();
    const { reconnect, timeout, keepalive } = parseSettings(op);
    assertEquals([reconnect, timeout, keepalive], [undefined, 10_000, 60]);
  } finally {
    await server.stop();
  }
});

test("publish: options by name, null and wrong values are TypeErrors, and nothing is sent", async () => {
  const server = await startScripted(accept);
  try {
    const mqtt = await connect(`127.0.0.1:${server.port}`, undefined, { id: "ID" });
    const publish = (options: unknown) => mqtt.publish("t", "m", options as PublishOptions);
    const rows: [unknown, string][] = [
      [{ retained: true }, "retained as publish() has no such option: use retain"],
      [{ reatin: true }, "did you mean retain?"],
      [{ QoS: 0 }, "did you mean qos?"],
      [{ somethingElse: 1 }, "it has qos, retain"],
      [{ retain: null }, "retain as it is null: leave it out"],
      [{ qos: null }, "qos as it is null: leave it out"],
      [{ retain: "false" }, "retain as it must be true or false"],
      [{ retain: 1 }, "retain as it must be true or false"],
      [null, "null: leave it out"],
      [true, "an object: received a boolean"],
      [() => {}, "publish() returns a promise"],
    ];
    for (const [options, message] of rows) await assertRejects(() => publish(options), TypeError, message);
    await publish({ username: undefined });
    await publish(Object.create({ inherited: 1 }));
    await mqtt.disconnect();
    const sent = server.peers[0]!.received().slice(16);
    assertEquals(sent.join(), [0x30, 4, 0, 1, 116, 109, 0x30, 4, 0, 1, 116, 109, 0xe0, 0].join());
  } finally {
    await server.stop();
  }
});

test(
  "subscribe and messages of a client: options by name, no handler as callback, and nothing is sent",
  needs("mosquitto"),
  async () => {
    const mosquitto = await startMosquitto();
    const handler = ((_topic: string, _message: Message) => {}) as never;
    try {
      for (const [, open] of modes) {
        const mqtt = await open(`127.0.0.1:${mosquitto.port}`, undefined);
        const wrong = { onMessage: handler } as SubscribeOptions;
        await assertRejects(async () => await mqtt.subscribe("t", wrong), TypeError, "use onpub");
        await assertRejects(async () => await mqtt.subscribe("t", handler), TypeError, "{ onpub }");
        if ("messages" in mqtt) {
          await assertRejects(() => mqtt.subscribe("t", {}, handler), TypeError, "{ onpub }");
          assertThrows(() => mqtt.messages("t", { limti: 1 } as MessagesOptions), TypeError, "did you mean limit?");
        }
        await mqtt.disconnect();
      }
      assert(!mosquitto.log().includes("SUBSCRIBE"));
    } finally {
      await mosquitto.stop();
    }
  },
);

test("subscribe and messages: options by name", () => {
  const rows: [unknown, string][] = [
    [{ onMessage: () => {} }, "onMessage as subscribe() has no such option: use onpub"],
    [{ on_pub: () => {} }, "did you mean onpub?"],
    [{ qso: 0 }, "did you mean qos?"],
    [{ limit: 1 }, "messages() has it"],
    [{ qos: null }, "qos as it is null: leave it out"],
    [{ onpub: null }, "onpub as it is null: leave it out"],
    [null, "null: leave it out"],
    ["t", "an object: received a string"],
    [(_topic: string, _message: Message) => {}, "give a handler of messages as { onpub }"],
  ];
  for (const [options, message] of rows) {
    assertThrows(() => parseSubscribe(options as SubscribeOptions), TypeError, message);
  }
  const limits: [unknown, string][] = [
    [{ limti: 1 }, "limti as messages() has no such option: did you mean limit?"],
    [{ onpub: () => {} }, "subscribe() has it"],
    [{ limit: null }, "limit as it is null: leave it out"],
    [{ limit: "1" }, "limit as it must be a number: received a string"],
    [null, "null: leave it out"],
  ];
  for (const [options, message] of limits) {
    assertThrows(() => parseMessages(options as MessagesOptions), TypeError, message);
  }
});

test("subscribe's callback is for the return code: a handler of messages is a TypeError, and is none to the types", () => {
  checkCallback(undefined);
  checkCallback((_code: number) => {});
  checkCallback(() => {});
  for (
    const handler of [(_topic: string, _message: Message) => {}, function (_1: string, _2: Message, _3: unknown) {}]
  ) {
    assertThrows(() => checkCallback(handler), TypeError, "{ onpub }");
  }
  for (const wrong of [null, 42, {}]) assertThrows(() => checkCallback(wrong), TypeError, "the callback");

  const onpub: OnPublish = () => {};
  const types = (mqtt: Client) => [
    // @ts-expect-error -- a handler is no callback
    mqtt.subscribe("t", (_topic: string, _message: Message) => {}),
    // @ts-expect-error -- nor if its types are left to be found
    mqtt.subscribe("t", (topic, message) => topic + message),
    // @ts-expect-error -- nor with one parameter
    mqtt.subscribe("t", (topic: string) => topic),
    // @ts-expect-error -- nor by its type
    mqtt.subscribe("t", onpub),
    // @ts-expect-error -- nor as the third argument
    mqtt.subscribe("t", {}, onpub),
    // @ts-expect-error -- and a callback is no handler
    mqtt.subscribe("t", { onpub: (code: number) => code }),
    mqtt.subscribe("t", (code) => code.toFixed()),
    mqtt.subscribe("t", { onpub }, (code) => code.toFixed()),
    mqtt.subscribe("t", { onpub: (topic, message) => topic + message.text() }),
  ];
  assertEquals(typeof types, "function");
});

test("[MQTT-3.1.2-4] [MQTT-3.1.3-7] session: the flag of CONNECT, and the id that it needs", async () => {
  const clean = (session: unknown, id: string | undefined = "ID") =>
    parseSettings({ session: session as boolean, id }).cleanSession;
  assertEquals([undefined, false, true, 1, 86_400, 2 ** 32 - 1].map((session) => clean(session)), [
    ...[true, true, false, false, false, false],
  ]);
  assertEquals(clean(false, ""), true);
  for (const wrong of [0, -1, 0.5, 2 ** 32, NaN, Infinity]) assertThrows(() => clean(wrong), RangeError, "session");
  for (const wrong of ["true", {}, "60"]) assertThrows(() => clean(wrong), TypeError, "session");
  const server = await startScripted(accept);
  try {
    for (const [, open] of modes) {
      const op = { port: server.port, session: true, timeout: 1000 };
      await assertRejects(() => open("127.0.0.1", undefined, op), TypeError, "given with an id");
      await assertRejects(() => open("127.0.0.1", undefined, { ...op, id: "" }), TypeError, "given with an id");
    }
    assertEquals(server.peers.length, 0);
    for (const [session, flags] of [[true, 0], [60, 0], [false, 2], [undefined, 2]] as const) {
      const mqtt = await connect("127.0.0.1", undefined, { port: server.port, id: "ID", session });
      await mqtt.disconnect();
      assertEquals(server.peers.at(-1)!.received()[9], flags, `${session}`);
    }
  } finally {
    await server.stop();
  }
});

test("options in place of onpub are told where they belong", async () => {
  for (const [, open] of modes) {
    const given = (value: unknown) => open("127.0.0.1", value as undefined);
    await assertRejects(() => given({ port: 1 }), TypeError, "the options are the third argument");
    await assertRejects(() => given(42), TypeError, "received a number");
    await assertRejects(() => given(null), TypeError, "onpub as it must be left out, or undefined");
  }
});

test("a number says what was received instead", () => {
  assertThrows(() => parseSettings({ keepalive: "60" as never }), TypeError, "a number: received a string");
  assertThrows(() => parseSettings({ timeout: [1] as never }), TypeError, "a number: received an array");
});
