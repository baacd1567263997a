/** MQTT to SMQ and back, over SMQ's WebSocket protocol. See SMQ.md. */
import { Buffer } from "node:buffer";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { WebSocket } from "ws";
import type { MqttError } from "../../mod.ts";
import { AwayError, Broker } from "./broker.ts";
import type { Value } from "./payload.ts";
import * as program from "./program.ts";
import { checkFilter } from "./topics.ts";

/** What goes where, and the bounds; those are of SMQ.md. */
export interface SmqOptions extends program.BrokerOptions {
  /** The hub: `ws://localhost/smq.lsp`. */
  hub: string;
  /** Identifies the bridge to the hub, at least 6 bytes; another with the same takes its place. `mqtt3c-bridge` by default. */
  uid?: string;
  credentials?: string;
  /** MQTT topic filters whose messages go to SMQ; `smqPrefix` goes before their topics, `mqtt/` by default. */
  toSmq?: readonly string[];
  smqPrefix?: string;
  /** SMQ topics whose messages go to MQTT; `mqttPrefix` goes before them, `smq/` by default. */
  toMqtt?: readonly string[];
  mqttPrefix?: string;
  /** Messages, and bytes, that may wait for the hub; 5,000 and 4 MiB by default. */
  maxWaiting?: { messages: number; bytes: number };
  /** Topics the bridge creates at the hub; 10,000 by default. */
  maxTopics?: number;
  /** Milliseconds in which the hub must answer; 10,000 by default. */
  timeout?: number;
}

/** The types of the protocol's messages. */
const INIT = 1, CONNECT = 2, CONNACK = 3, SUBSCRIBE = 4, SUBACK = 5, CREATE = 6, CREATEACK = 7;
const PUBLISH = 8, DISCONNECT = 11, PING = 12, PONG = 13;

/** Bytes of a payload, at most. */
const MAX_PAYLOAD = 65_520;
/** Bytes the socket may have in its own buffer; what is more waits here. */
const HIGH_WATER = 262_144;
/** Publishes that may wait for the broker; then the hub is not read. */
const PUBLISHING = 1000;
/** Milliseconds between PINGs, whose PONG says that all before them has arrived. */
const CONFIRM = 100;

interface Topic {
  readonly name: string;
  /** The hub's number of it, on this connection; null if it refused. */
  tid: number | null | undefined;
}

/** Starts the bridge; it goes on trying until both sides are there, and whenever one of them has gone. */
export function startSmq(options: SmqOptions): program.Bridge {
  const { toSmq = [], smqPrefix = "mqtt/", toMqtt = [], mqttPrefix = "smq/", maxTopics = 10_000 } = options;
  const { maxWaiting = { messages: 5000, bytes: 4_194_304 }, timeout = 10_000, log = () => {} } = options;
  const { uid = "mqtt3c-bridge", credentials = "" } = options;
  check(smqPrefix !== "" && mqttPrefix !== "", "a prefix is empty: messages would go in circles");
  check(toMqtt.every((topic) => !topic.startsWith(smqPrefix)), `SMQ topics with ${smqPrefix} come from MQTT`);
  check([uid, credentials].every((text) => Buffer.byteLength(text) < 256), "uid or credentials are over 255 bytes");
  check(Buffer.byteLength(uid) >= 6, "uid must have at least 6 bytes");
  check(/^wss?:/.test(options.hub) && URL.canParse(options.hub), "hub must be a ws: or wss: URL");
  for (const filter of toSmq) checkFilter(filter);

  const broker = new Broker(options.broker, options.op, log);
  const stop = new AbortController();
  const counts = { hub: "away", reason: "not connected yet", connections: 0 };
  /** Of each direction: confirmed; refused as too large, as an echo, as a topic that cannot be; lost, and perhaps lost. */
  const up = { published: 0, tooLarge: 0, loops: 0, refused: 0, dropped: 0, unconfirmed: 0 };
  const down = { published: 0, tooLarge: 0, loops: 0, refused: 0, dropped: 0, unconfirmed: 0 };
  const topics = new Map<string, Topic>();
  const sources = new Map<number, string>();
  let queue: { topic: Topic; frame: Buffer }[] = [];
  let head = 0, queued = 0, publishing = 0;
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
    if (payload.length > MAX_PAYLOAD) return void up.tooLarge++;
    const known = topics.get(topic) ?? create(topic);
    if (known === undefined || known.tid === null) return void up.refused++;
    // Copied: the message is a part of a larger block, which must not wait with it.
    const frame = Buffer.alloc(13 + payload.length);
    frame.set(payload, 13);
    queue.push({ topic: known, frame });
    queued += frame.length;
    if (queue.length - head === 1) setImmediate(flush);
    if (!isFull()) return;
    flush();
    while (isFull()) {
      up.dropped++;
      next();
    }
  }

  function isFull(): boolean {
    return queue.length - head > maxWaiting.messages || queued > maxWaiting.bytes;
  }

  function create(name: string): Topic | undefined {
    if (topics.size >= maxTopics) return undefined;
    const topic: Topic = { name, tid: undefined };
    topics.set(name, topic);
    if (counts.hub === "connected") send(CREATE, smqPrefix + name);
    return topic;
  }

  /** Takes the oldest message out of the queue. */
  function next(): Buffer {
    const { frame } = queue[head]!;
    queued -= frame.length;
    head++;
    if (head * 2 > queue.length) {
      queue = queue.slice(head);
      head = 0;
    }
    return frame;
  }

  /** Sends what waits, in order, as far as the hub takes it and has given the topics their numbers. */
  function flush(): void {
    while (counts.hub === "connected" && head < queue.length && socket!.bufferedAmount < HIGH_WATER) {
      const { tid } = queue[head]!.topic;
      if (tid === undefined) return;
      const frame = next();
      if (tid === null) {
        up.refused++;
        continue;
      }
      frame[0] = PUBLISH;
      frame.writeUInt32BE(tid, 1);
      frame.writeUInt32BE(etid, 5);
      sent++;
      socket!.send(frame, flush);
    }
  }

  // SMQ to MQTT.

  async function forward(tid: number, sender: number, payload: Uint8Array): Promise<void> {
    const topic = sources.get(tid);
    if (sender === etid) return void down.loops++; // it came from here
    if (payload.length > MAX_PAYLOAD) return void down.tooLarge++;
    if (topic === undefined) return void down.refused++;
    if (++publishing === PUBLISHING) socket?.pause();
    try {
      await broker.publish(mqttPrefix + topic, payload);
      down.published++;
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) down.refused++;
      else if (error instanceof AwayError || (error as MqttError).code === "overflow") down.dropped++;
      else down.unconfirmed++;
    } finally {
      if (--publishing === PUBLISHING >> 1) socket?.resume();
    }
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
      case INIT: {
        const parts = [uid, credentials].flatMap((part) => [Buffer.of(Buffer.byteLength(part)), Buffer.from(part)]);
        return socket!.send(Buffer.concat([Buffer.of(CONNECT, 1), ...parts, Buffer.from("mqtt3c bridge")]));
      }
      case CONNACK:
        if (bytes[1] !== 0) return leave(`the hub refused the connection: ${bytes[1]} ${text(6)}`);
        etid = bytes.readUInt32BE(2);
        return enter();
      case SUBACK:
        if (bytes[1] === 0) sources.set(bytes.readUInt32BE(2), text(6));
        else log(`The hub refused the subscription to ${text(6)}`);
        return;
      case CREATEACK: {
        const topic = topics.get(text(6).slice(smqPrefix.length));
        if (topic === undefined) return;
        topic.tid = bytes[1] === 0 ? bytes.readUInt32BE(2) : null;
        return flush();
      }
      case PUBLISH:
        return void forward(bytes.readUInt32BE(1), bytes.readUInt32BE(5), bytes.subarray(13));
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

  function enter(): void {
    counts.hub = "connected";
    if (counts.connections++ === 0) counts.reason = "";
    due = Infinity;
    for (const topic of toMqtt) send(SUBSCRIBE, topic);
    for (const topic of topics.values()) send(CREATE, smqPrefix + topic.name);
    log(`The hub is here; so far, ${tell()}`);
  }

  /** Asks whether all has arrived; a hub that does not answer has gone. */
  function confirm(): void {
    const now = performance.now();
    if (due < Infinity && socket!.isPaused) due = now + timeout; // the answer may be there
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
    const made = socket = new WebSocket(options.hub, { handshakeTimeout: timeout, maxPayload: 1_048_576 });
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
      made.on("error", (error) => reason ||= error.message).on("close", resolve);
    });
    const why = reason || "the hub closed the connection";
    if (counts.hub === "connected") log(`The hub is away: ${why}`);
    else if (counts.reason !== why) log(`No hub: ${why}`);
    counts.reason = why;
    clearInterval(timer);
    stop.signal.removeEventListener("abort", end);
    up.unconfirmed += sent + pinged;
    sent = pinged = 0;
    sources.clear();
    for (const topic of topics.values()) topic.tid = undefined;
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
    const loss = ({ dropped, unconfirmed }: typeof up) => `${dropped} lost, ${unconfirmed} perhaps`;
    return `to SMQ ${loss(up)}; to MQTT ${loss(down)}`;
  }

  function status(): Record<string, unknown> {
    return { mqtt: broker.status(), smq: counts, toSmq: { ...up, waiting: queue.length - head }, toMqtt: down };
  }

  broker.changed.add(() => {
    if (broker.connected) log(`So far, ${tell()}`);
  });
  for (const filter of toSmq) {
    broker.subscribe(filter, { message: take, refused: (error) => log(`No messages of ${filter}: ${error.message}`) });
  }
  const ended = live();
  return {
    url: options.hub,
    status,
    async close() {
      await broker.close();
      stop.abort();
      const timer = setTimeout(() => leave("the bridge has ended"), 1000);
      await ended;
      clearTimeout(timer);
    },
  };
}

function check(holds: boolean, mistake: string): void {
  if (!holds) throw new TypeError(`Cannot bridge as ${mistake}`);
}

if (program.isProgram(import.meta.url)) {
  const usage = `smq.ts --hub ws://localhost/smq.lsp [--broker mqtt://localhost] [--uid mqtt3c-bridge]
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
  program.log(`SMQ at ${values.hub} for ${program.withoutLogin(values.broker)}`);
}
