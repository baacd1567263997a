/** MQTT to SMQ and back, over SMQ's WebSocket protocol. See SMQ.md. */
import { Buffer } from "node:buffer";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { WebSocket } from "ws";
import { Broker } from "./broker.ts";
import { Losses } from "./losses.ts";
import { weigh } from "./outbox.ts";
import type { Value } from "./payload.ts";
import * as program from "./program.ts";
import { checkOptions, MAX_PAYLOAD, type SmqOptions } from "./smq_options.ts";
import { Waiting } from "./waiting.ts";

export type { SmqOptions };

/** The types of the protocol's messages. */
const INIT = 1, CONNECT = 2, CONNACK = 3, SUBSCRIBE = 4, SUBACK = 5, CREATE = 6, CREATEACK = 7;
const PUBLISH = 8, DISCONNECT = 11, PING = 12, PONG = 13;
/** What the codes of CONNACK mean, where the hub sends no text. */
const REFUSALS = "|protocol version or uid|hub not available|wrong credentials|client certificate required" +
  "|client certificate not accepted|access denied";

/** Bytes of a frame, at most: for a larger one the hub closes the connection. */
const MAX_FRAME = 65_535;
/** Bytes the socket may have in its own buffer; what is more waits here. */
const HIGH_WATER = 262_144;
/** What publishes may weigh that the broker has not acknowledged; what is more waits here. */
const PUBLISHING = 1_024_000;
/** Milliseconds between PINGs, whose PONG says that the hub has all before them; whether a subscriber has, nobody tells. */
const CONFIRM = 100;
/** Milliseconds that the end waits for the broker, and for the hub. */
const END = 1000;

interface Topic {
  readonly name: string;
  /** The hub's number of it, on this connection; undefined until it has answered, null if it refused. */
  tid: number | null | undefined;
  asked: boolean;
  /** Messages that wait for the hub. */
  waiting: number;
}

/** Starts the bridge; it goes on trying until both sides are there, and whenever one of them has gone. */
export function startSmq(options: SmqOptions): program.Bridge {
  const { toSmq = [], smqPrefix = "mqtt/", toMqtt = [], mqttPrefix = "smq/", maxTopics = 10_000 } = options;
  const { maxWaiting = { messages: 20_000, bytes: 4_194_304 }, timeout = 10_000, log = () => {} } = options;
  const { uid = "mqtt3c-bridge", credentials = "" } = options;
  checkOptions(options);

  const { username, password } = new URL(options.hub), url = options.hub.replace(/\/\/.*@/, "//");
  const login = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
  const headers = username === "" ? {} : { authorization: `Basic ${login}` }; // Bun would not decode them

  const broker = new Broker(options.broker, options.op, log);
  const stop = new AbortController();
  const counts = { hub: "away", reason: "not connected yet", connections: 0 };
  const up = { published: 0, loops: 0 }, down = { loops: 0 };
  const upLosses = new Losses({
    tooLarge: `to SMQ: over ${MAX_PAYLOAD} bytes`,
    refused: "to SMQ: the hub denies their topics, or these are too long",
    dropped: "to SMQ: the hub is away, or takes them more slowly than they come",
    unconfirmed: "to SMQ, perhaps: the hub went before it had confirmed them",
  }, log);
  const downLosses = new Losses({
    tooLarge: `to MQTT: over ${MAX_PAYLOAD} bytes`,
    refused: "to MQTT: of topics that are not subscribed",
    dropped: "to MQTT: the broker is away, or takes them more slowly than they come",
  }, log);
  /** The least recently used first. */
  const topics = new Map<string, Topic>();
  const sources = new Map<number, string>();
  const outgoing = new Waiting<{ topic: Topic; frame: Buffer; bytes: number }>(maxWaiting, flush, ({ topic }) => {
    topic.waiting--;
    upLosses.add("dropped");
  });
  const incoming = new Waiting<Value & { bytes: number }>(maxWaiting, pump, () => downLosses.add("dropped"));
  let flushes = false, publishing = 0, drained = () => {};
  let socket: WebSocket | undefined;
  let etid = 0;
  let last: Value | undefined;
  /** Messages since the last PING, and before it; and when the hub must have answered, and when it last spoke. */
  let sent = 0, pinged = 0;
  let due = Infinity, heard = 0;
  /** Why this connection ends, if that is known. */
  let reason = "";

  // MQTT to SMQ.

  function take(value: Value): void {
    if (value === last) return; // it came by another filter
    last = value;
    const { topic, payload } = value;
    if (topic.startsWith(mqttPrefix)) return void up.loops++; // it came from SMQ
    if (payload.length > MAX_PAYLOAD) return upLosses.add("tooLarge");
    const known = use(topic);
    if (known.tid === null || 1 + Buffer.byteLength(smqPrefix + topic) > MAX_FRAME) return upLosses.add("refused");
    // Copied: the message is a part of a larger block, which must not wait with it.
    const frame = Buffer.alloc(13 + payload.length);
    frame.set(payload, 13);
    known.waiting++;
    outgoing.push({ topic: known, frame, bytes: frame.length });
    flushSoon();
  }

  /** The topic, as the one that was used last; of too many, those are forgotten for which nothing waits. */
  function use(name: string): Topic {
    const topic: Topic = topics.get(name) ?? { name, tid: undefined, asked: false, waiting: 0 };
    topics.delete(name);
    topics.set(name, topic);
    // Of those in use at most a few are looked at, so that many new topics at once are no more work than one after the other.
    for (let tries = 0; topics.size > maxTopics && tries < 3; tries++) {
      const [oldest] = topics.values();
      topics.delete(oldest!.name);
      if (oldest!.waiting > 0 || oldest === topic) topics.set(oldest!.name, oldest!);
    }
    return topic;
  }

  function flushSoon(): void {
    if (flushes) return;
    flushes = true;
    setImmediate(flush);
  }

  /** Sends what waits, as far as the hub takes it; what waits for the number of its topic holds up no other topic. */
  function flush(): void {
    flushes = false;
    outgoing.offer(({ topic, frame }) => {
      if (counts.hub !== "connected" || socket!.bufferedAmount >= HIGH_WATER) return "full";
      if (topic.tid === undefined) {
        if (!topic.asked) send(CREATE, smqPrefix + topic.name);
        topic.asked = true;
        return "waits";
      }
      topic.waiting--;
      if (topic.tid === null) {
        upLosses.add("refused");
        return "taken";
      }
      frame[0] = PUBLISH;
      frame.writeUInt32BE(topic.tid, 1);
      frame.writeUInt32BE(etid, 5);
      sent++;
      socket!.send(frame, flushSoon);
      return "taken";
    });
  }

  // SMQ to MQTT. The hub is read always: it may drop, or die, where a subscriber does not.

  function forward(tid: number, sender: number, payload: Uint8Array): void {
    const topic = sources.get(tid), bytes = payload.length;
    if (sender === etid) return void down.loops++; // it came from here
    if (bytes > MAX_PAYLOAD) return downLosses.add("tooLarge");
    if (topic === undefined) return downLosses.add("refused");
    incoming.push({ topic: mqttPrefix + topic, payload: payload.slice(), retain: false, bytes });
    pump();
  }

  /** Publishes what waits, as far as the broker acknowledges it. */
  function pump(): void {
    incoming.offer(({ topic, payload, bytes }) => {
      if (!broker.connected || publishing >= PUBLISHING) return "full";
      const weight = weigh(bytes);
      publishing += weight;
      const done = () => {
        publishing -= weight;
        pump();
        if (publishing + incoming.length === 0) drained();
      };
      broker.publish(topic, payload).then(done, done); // it counts what is lost
      return "taken";
    });
  }

  // The hub.

  function send(type: number, text = ""): void {
    socket!.send(Buffer.concat([Buffer.of(type), Buffer.from(text)]));
  }

  function hear(bytes: Buffer): void {
    heard = performance.now();
    if (due < Infinity) due = heard + timeout;
    const text = (start: number) => bytes.toString("utf8", start);
    switch (bytes[0]) {
      case INIT:
        return void introduce(bytes.readUInt32BE(2), text(6));
      case CONNACK: {
        const code = bytes[1]!;
        if (code !== 0) return leave(`the hub refused the connection: ${code} ${text(6) || REFUSALS.split("|")[code]}`);
        etid = bytes.readUInt32BE(2);
        return enter();
      }
      case SUBACK:
        if (bytes[1] !== 0) log(`The hub refused the subscription to ${text(6)}`);
        else if (toMqtt.includes(text(6))) sources.set(bytes.readUInt32BE(2), text(6));
        return;
      case CREATEACK: {
        const topic = topics.get(text(6).slice(smqPrefix.length));
        if (topic) topic.tid = bytes[1] === 0 ? bytes.readUInt32BE(2) : null;
        return flushSoon();
      }
      case PUBLISH:
        return forward(bytes.readUInt32BE(1), bytes.readUInt32BE(5), bytes.subarray(13));
      case PONG:
        up.published += pinged;
        pinged = 0;
        due = Infinity;
        if (stop.signal.aborted) end();
        return;
      case PING:
        return send(PONG);
      case DISCONNECT:
        return leave(`the hub ended the connection: ${text(1)}`);
    }
  }

  /** Answers the hub's challenge. */
  async function introduce(seed: number, address: string): Promise<void> {
    const made = socket;
    try {
      const given = typeof credentials === "function" ? await credentials(seed, address) : credentials;
      const parts = [uid, given].map((part) => typeof part === "string" ? Buffer.from(part) : part);
      if (parts[1]!.length > 255) throw new RangeError("they are over 255 bytes");
      if (made !== socket) return; // it has ended meanwhile
      const fields = parts.flatMap((part) => [Buffer.of(part.length), part]);
      made!.send(Buffer.concat([Buffer.of(CONNECT, 1), ...fields, Buffer.from("mqtt3c bridge")]));
    } catch (error) {
      if (made === socket) leave(`no credentials for the hub: ${(error as Error).message}`);
    }
  }

  function enter(): void {
    counts.hub = "connected";
    if (counts.connections++ === 0) counts.reason = "";
    due = Infinity;
    for (const topic of toMqtt) send(SUBSCRIBE, topic);
    log(`The hub is here; so far, ${tell()}`);
    flushSoon();
  }

  /** Asks whether all has arrived; a hub that does not answer has gone. */
  function confirm(): void {
    const now = performance.now();
    if (now > due) return leave(`the hub did not answer within ${timeout} ms`);
    if (due < Infinity || sent === 0 && now - heard < timeout) return;
    ping();
  }

  function ping(): void {
    pinged = sent;
    sent = 0;
    due = performance.now() + timeout;
    send(PING);
  }

  function leave(why: string): void {
    reason = why;
    socket?.terminate();
  }

  /** Says goodbye when all that was sent is confirmed. */
  function end(): void {
    if (counts.hub !== "connected") return leave("the bridge has ended");
    if (sent > 0 && due === Infinity) return ping();
    if (due < Infinity) return;
    reason = "the bridge has ended";
    send(DISCONNECT);
    socket!.close();
  }

  /** One connection to the hub, to its end. */
  async function attend(): Promise<void> {
    const made = socket = new WebSocket(url, {
      handshakeTimeout: timeout,
      headers,
      maxPayload: 1_048_576,
      ...options.ca === undefined ? {} : { ca: options.ca },
    });
    const timer = setInterval(confirm, CONFIRM);
    due = performance.now() + timeout;
    reason = "";
    stop.signal.addEventListener("abort", end);
    made.on("message", (data, isBinary) => {
      try {
        if (!isBinary) throw new TypeError("text");
        hear(data as Buffer);
      } catch (error) {
        leave(`the hub sent what is not SMQ: ${(error as Error).message}`);
      }
    });
    await new Promise((resolve) => {
      made.on("error", ({ message }) => {
        const status = /Unexpected server response: (\d+)/.exec(message)?.[1];
        reason ||= status === undefined ? message : `no SMQ hub at this URL: the server answers HTTP status ${status}`;
      }).on("close", resolve);
    });
    const why = reason || "the hub closed the connection";
    if (counts.hub === "connected") log(`The hub is away: ${why}`);
    else if (counts.reason !== why) log(`No hub: ${why}`);
    counts.reason = why;
    clearInterval(timer);
    stop.signal.removeEventListener("abort", end);
    upLosses.add("unconfirmed", sent + pinged);
    sent = pinged = 0;
    sources.clear();
    for (const topic of topics.values()) Object.assign(topic, { tid: undefined, asked: false });
    counts.hub = "away";
    socket = undefined;
  }

  async function live(): Promise<void> {
    for (let failures = 0; !stop.signal.aborted; failures++) {
      const before = counts.connections, started = performance.now();
      await attend();
      if (counts.connections > before && performance.now() - started > 1000) failures = 0;
      if (counts.reason.endsWith("reconnect")) failures = 6; // another has our uid: no wrestling
      // What it rejects with is the end of the bridge, and so of the loop.
      await pause(Math.random() * Math.min(5000, 100 * 2 ** failures), undefined, stop).catch(() => {});
    }
  }

  function tell(): string {
    const { toSmq, toMqtt } = status();
    const loss = ({ dropped, unconfirmed }: typeof toMqtt) => `${dropped} lost, ${unconfirmed} perhaps`;
    return `to SMQ ${loss(toSmq)}; to MQTT ${loss(toMqtt)}`;
  }

  function status() {
    const mqtt = broker.status(), { published, unconfirmed } = mqtt, { counts: lost } = downLosses;
    const toMqtt = { published, unconfirmed, ...down, ...lost, refused: lost.refused + mqtt.refused };
    return {
      mqtt,
      smq: counts,
      toSmq: { ...up, ...upLosses.counts, waiting: outgoing.length },
      toMqtt: { ...toMqtt, waiting: incoming.length },
    };
  }

  broker.changed.add(() => {
    if (broker.connected) log(`So far, ${tell()}`);
    pump();
  });
  for (const filter of toSmq) {
    broker.subscribe(filter, { message: take, refused: (error) => log(`No messages of ${filter}: ${error.message}`) });
  }
  const ended = live();
  return {
    url: program.withoutLogin(options.hub),
    status,
    async close() {
      if (broker.connected && incoming.length > 0) {
        await Promise.race([new Promise<void>((resolve) => drained = resolve), pause(END, undefined, { ref: false })]);
      }
      await broker.close();
      stop.abort();
      const timer = setTimeout(() => leave("the bridge has ended"), END);
      await ended;
      clearTimeout(timer);
      upLosses.add("dropped", outgoing.length);
      downLosses.add("dropped", incoming.length);
      for (const losses of [upLosses, downLosses]) losses.close();
    },
  };
}

if (program.isProgram(import.meta.url)) {
  const usage = `smq.ts --hub ws://localhost/smq.lsp [--broker mqtt://localhost] [--version 311|5|auto]
        [--ca authorities.pem] [--uid mqtt3c-bridge]
       [--to-smq <MQTT filter>]... [--smq-prefix mqtt/]   messages of these filters go to SMQ
       [--to-mqtt <SMQ topic>]... [--mqtt-prefix smq/]    messages of these topics go to MQTT
The environment may have MQTT_USER, MQTT_PASSWORD and SMQ_CREDENTIALS.`;
  const values = program.parse(usage, {
    ...program.brokerArgs,
    hub: { type: "string", default: "ws://localhost/smq.lsp" },
    uid: { type: "string", default: "mqtt3c-bridge" },
    "to-smq": { type: "string", multiple: true, default: [] },
    "smq-prefix": { type: "string", default: "mqtt/" },
    "to-mqtt": { type: "string", multiple: true, default: [] },
    "mqtt-prefix": { type: "string", default: "smq/" },
  });
  await program.run(usage, async () =>
    startSmq({
      ...await program.brokerOptions(values),
      hub: values.hub,
      uid: values.uid,
      credentials: process.env["SMQ_CREDENTIALS"] ?? "",
      toSmq: values["to-smq"],
      smqPrefix: values["smq-prefix"],
      toMqtt: values["to-mqtt"],
      mqttPrefix: values["mqtt-prefix"],
      log: program.log,
    }));
  program.log(`SMQ at ${program.withoutLogin(values.hub)} for ${program.withoutLogin(values.broker)}`);
}
