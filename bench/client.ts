/**
 * What a client must offer to be measured: `open`. A file in clients/ exports it, and may export a
 * job of its own (`receive`, `publish`, ...) in place of the common one of driver.ts.
 */
import type { SessionStore } from "../mod.ts";

/** A message as the client hands it over; reading `payload` is part of what is measured. */
export interface Message {
  readonly payload: Uint8Array;
}

export interface Connection {
  subscribe(filter: string): unknown;
  /** One message, not awaited: many of them make a tick. */
  send(topic: string, payload: Uint8Array): void;
  /** One message; settles when the client has room for the next, where it can tell; at QoS 1 and 2 when it is acknowledged. */
  publish(topic: string, payload: Uint8Array): Promise<unknown>;
  /** Sends what was accepted, then DISCONNECT. */
  close(): unknown;
  /** A subscription with a handler of its own, where the client has it. */
  route?(filter: string, onmessage: OnMessage): unknown;
}

export type OnMessage = (topic: string, message: Message) => void;

/** How a connection is opened. */
export interface Options {
  /** At which messages are published and subscribed. */
  qos: 0 | 1 | 2;
  /** 4 is MQTT 3.1.1. */
  version: 4 | 5;
  /** Where the session is kept, if anywhere. */
  store: SessionStore | undefined;
}

export type Open = (url: string, onmessage: OnMessage, options: Options) => Promise<Connection>;

/** Bytes that a burst of them takes, at most. */
export const BURST: number = 2 ** 28;

/** Messages of QoS 1 and 2 on their way at a time. */
export const WINDOW = 256;

/** The parameters of a run, in the order in which a person would ask for them. */
export interface Params {
  job: string;
  /** The file in clients/, or what it was built into. */
  client: string;
  url: string;
  size: number;
  topics: number;
  seconds: number;
  /** How many the peer floods us with; 0: as many as it can in that time. */
  messages: number;
  /** Messages within one tick, or on their way at a time. */
  batch: number;
  /** Connections, or subscriptions. */
  count: number;
  /** At which messages are published and subscribed. */
  qos: 0 | 1 | 2;
  version: 4 | 5;
  /** The user properties that messages come with. */
  properties: number;
  /** 0: messages are counted, their payload is not looked at. */
  read: number;
  /** The folder in which the session is kept in a file, and what that waits for; "" if it is not kept. */
  store: string;
  sync: "os" | "disk";
  /** 1: the job is done once for each line of standard input, not once. */
  repeat: number;
}

/**
 * What a run found. `seconds` is from the first message to the last: handed over, or accepted; `cpu` is
 * what the process used for that, and until everything was sent.
 */
export interface Figures {
  messages?: number;
  wrong?: number;
  seconds?: number;
  cpu?: number | undefined;
  p50?: number;
  p99?: number;
  bytes?: number;
}

/** Marks the steady part of a job. */
export interface Meter {
  start(): void;
  stop(): { seconds: number; cpu?: number };
}

/** `open` is asked for a connection as the parameters have it. */
export type Job = (
  params: Params,
  meter: Meter,
  open: (url: string, onmessage: OnMessage) => Promise<Connection>,
) => Promise<Figures>;

/** The client cannot do this job; the message says why. */
export class Skip extends Error {}

export const TOPIC_LENGTH = 26;

/** The topics of the peer: 26 characters, as many as asked for. */
export function topicNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `bench/device/${String(i).padStart(7, "0")}/state`);
}

/** The length of one PUBLISH of the peer; all are alike. */
export function packetLength(size: number): number {
  const rest = 2 + TOPIC_LENGTH + size;
  return rest + 1 +
    (rest < 128 ? 1 : rest < 16384 ? 2 : rest < 2097152 ? 3 : 4);
}

/** The bytes of a PUBLISH of QoS 0. */
export function publishPacket(topic: string, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = [0x30];
  let length = 2 + topic.length + payload.length;
  for (; length >= 128; length >>= 7) head.push(length & 127 | 128);
  head.push(length, 0, topic.length);
  const packet = new Uint8Array(head.length + topic.length + payload.length);
  packet.set(head);
  packet.set(new TextEncoder().encode(topic), head.length);
  packet.set(payload, head.length + topic.length);
  return packet;
}

/** The parameters from `name=value` arguments. */
export function parseParams(args: string[]): Params {
  const params: Params = {
    job: "receive",
    client: "",
    url: "",
    size: 16,
    topics: 100,
    seconds: 1,
    messages: 0,
    batch: 1000,
    count: 1000,
    qos: 0,
    version: 4,
    properties: 0,
    read: 1,
    store: "",
    sync: "os",
    repeat: 0,
  };
  for (const arg of args) {
    const at = arg.indexOf("=");
    const [name, value] = [arg.slice(0, at) as keyof Params, arg.slice(at + 1)];
    Object.assign(params, {
      [name]: typeof params[name] === "number" ? Number(value) : value,
    });
  }
  return params;
}
