/** What is measured: each scenario is a job, its parameters, what the peer does, and how to read the outcome. */
import { packetLength, type Params } from "./client.ts";

export type Unit = "messages/s" | "us" | "ms" | "bytes";

export interface Scenario {
  /** Words joined by hyphens; `--only` takes any number of the first ones. */
  id: string;
  title: string;
  job: string;
  /** What the peer does, or that it is a real broker. */
  peer: "flood" | "sink" | "echo" | "mosquitto";
  unit: Unit;
  params: Partial<Params>;
  tls?: boolean;
  /** Over a WebSocket, and in a page, too; the peer has to be the one in C, with OpenSSL. */
  websocket?: boolean;
  /** Client and peer share one core. */
  pinned?: boolean;
  /** Clients that take part; when left out, all but the platform's WebSocket. */
  clients?: string[];
  /** Clients that take part again with a store, for each of its `sync`. */
  stored?: string[];
  /** The peer has to be the one in C. */
  compiled?: boolean;
  /** Part of a `--quick` run. */
  quick?: boolean;
  /** Left out of the overview. */
  detail?: boolean;
}

/** The three modes of this client. */
export const modes: string[] = ["mqtt3c", "mqtt3c_worker", "mqtt3c_sync"];

/** What `--compare` runs: the ways that every message takes through the library. */
export const compared: string[] = [
  "receive-16-100",
  "receive-256-100",
  "publish-16-100",
  "publish-256-100",
  "awaited-16-100",
  "echo-one-core",
];

const SIZES = [16, 256, 4096, 65536];

/** Bytes as they are said: 16 B, 4 KiB. */
export function sizeText(bytes: number): string {
  return bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`;
}

/** Few enough to stay below the limits of the clients' buffers within a tick. */
function batchOf(size: number): number {
  return Math.max(16, Math.min(1000, Math.floor(2 ** 21 / size)));
}

type Flow = "receive" | "publish";

/** What the messages of a flow go over, besides TCP. */
type Layer = "tls" | "ws";
const LAYERS: Record<Layer, string> = { tls: " over TLS", ws: " over WebSocket" };

function flow(job: Flow, size: number, topics: number, layer?: Layer): Scenario {
  const what = (job === "receive" ? "Receive" : "Publish") + (layer === undefined ? "" : LAYERS[layer]);
  const tail = `${sizeText(size)}, ${topics.toLocaleString("en")} topic${topics > 1 ? "s" : ""}`;
  return {
    id: `${layer === undefined ? "" : `${layer}-`}${job}-${size}-${topics}`,
    title: job === "receive" ? `${what}, ${tail}` : `${what}, many within a tick, ${tail}`,
    job,
    peer: job === "receive" ? "flood" : "sink",
    unit: "messages/s",
    params: { size, topics, batch: batchOf(size) },
    tls: layer === "tls",
    websocket: layer === "ws",
    // These libraries have no WebSockets.
    ...layer === "ws" && { clients: [...modes, "mqttjs", "websocket"] },
    quick: size === 16 && topics === 100 && layer === undefined,
  };
}

/** Messages of 256 bytes that are acknowledged, 256 on their way at a time. */
function acknowledged(qos: 1 | 2, version: 4 | 5 = 4): Scenario[] {
  const isMain = qos === 1 && version === 4;
  const common = {
    unit: "messages/s" as const,
    params: { size: 256, topics: 100, qos, version },
    clients: [...modes, "mqttjs", ...version === 4 ? ["libmosquitto"] : []],
    compiled: true,
    quick: isMain,
  };
  const tail = `${version === 5 ? "over MQTT 5 " : ""}at QoS ${qos}, 256 on their way, 256 B, 100 topics`;
  const id = `${version === 5 ? "v5-" : ""}qos${qos}`;
  return [
    { ...common, id: `${id}-receive`, title: `Receive ${tail}`, job: "receive", peer: "flood" },
    {
      ...common,
      id: `${id}-publish`,
      title: `Publish ${tail}`,
      job: "acknowledged",
      peer: "sink",
      stored: isMain ? modes : [],
    },
  ];
}

/** More at once than what a client has in hand at a time. */
function crowds(): Scenario[] {
  return [
    {
      id: "crowd",
      title: "10,000 connections in one process, until all are open and each has got a message, 16 B",
      job: "crowd",
      peer: "echo",
      unit: "ms",
      params: { size: 16, topics: 1, count: 10_000 },
      clients: ["mqtt3c", "mqttjs", "u8-mqtt", "raw"], // in threads, a connection has rings of 1 MiB
      compiled: true,
    },
    {
      ...flow("receive", 16, 100_000),
      id: "retained",
      title: "Receive, 100,000 messages to as many topics at once, as retained ones come, 16 B",
      params: { size: 16, topics: 100_000, messages: 100_000 },
      compiled: true,
    },
    {
      id: "burst",
      title: "Publish a burst of 1,000,000 at QoS 1, none awaited before the others, 16 B, 100 topics",
      job: "burst",
      peer: "sink",
      unit: "messages/s",
      params: { size: 16, topics: 100, qos: 1, messages: 1_000_000 },
      clients: ["mqtt3c", "mqtt3c_worker", "mqttjs"],
      compiled: true,
    },
  ];
}

/** What MQTT 5 costs. */
function version5(): Scenario[] {
  const common = { clients: [...modes, "mqttjs"], compiled: true, quick: false };
  const params = (scenario: Scenario, properties = 0) => ({ ...scenario.params, version: 5 as const, properties });
  const receive = flow("receive", 16, 100), publish = flow("publish", 16, 100);
  const title = "over MQTT 5, 16 B, 100 topics";
  return [
    { ...receive, ...common, id: "v5-receive-16-100", title: `Receive ${title}`, params: params(receive) },
    {
      ...receive,
      ...common,
      id: "v5-properties-16-100",
      title: `Receive ${title}, three user properties that nobody reads`,
      params: params(receive, 3),
    },
    {
      ...publish,
      ...common,
      id: "v5-publish-16-100",
      title: `Publish ${title}, many within a tick`,
      params: params(publish),
    },
    ...acknowledged(1, 5),
  ];
}

/** All sizes with 100 topics, all numbers of topics with 16 bytes; or exactly the given ones. */
function flows(job: Flow, sizes?: number[], topics?: number[]): Scenario[] {
  const pairs = sizes || topics
    ? (sizes ?? [16]).flatMap((size) => (topics ?? [100]).map((count) => [size, count] as const))
    : [
      ...SIZES.map((size) => [size, 100] as const),
      [16, 1] as const,
      [16, 50_000] as const,
    ];
  return pairs.filter(([size, count]) => packetLength(size) * count < 2 ** 29)
    .map(([size, count]) => flow(job, size, count));
}

export function scenarios(sizes?: number[], topics?: number[]): Scenario[] {
  return [
    ...flows("receive", sizes, topics),
    {
      ...flow("receive", 16, 100),
      id: "count-16-100",
      title: "Receive, payload never read, 16 B, 100 topics",
      params: { size: 16, topics: 100, read: 0 },
      clients: ["mqtt3c", "mqttjs"],
      quick: false,
      detail: true,
    },
    ...[1, 100, 10_000].map((count): Scenario => ({
      ...flow("receive", 16, 100),
      id: `routed-${count}`,
      title: `Receive, ${count.toLocaleString("en")} subscriptions with their own handler, 16 B, 100 topics`,
      job: "routed",
      params: { size: 16, topics: 100, count },
      clients: ["mqtt3c"],
      quick: false,
      detail: true,
    })),
    ...[1_000_000, 100_000_000].map((messages): Scenario => ({
      ...flow("receive", 16, 100),
      id: `length-${messages}`,
      title: `Receive, ${messages.toLocaleString("en")} messages, 16 B, 100 topics`,
      params: { size: 16, topics: 100, messages },
      clients: ["mqtt3c"],
      quick: false,
      detail: true,
    })),
    ...flows("publish", sizes, topics),
    {
      ...flow("publish", 16, 100),
      id: "awaited-16-100",
      title: "Publish, each awaited, 16 B, 100 topics",
      job: "awaited",
    },
    ...acknowledged(1),
    ...acknowledged(2),
    ...version5(),
    ...crowds(),
    {
      id: "echo-one-core",
      title: "Round trip through the echoing peer, 16 B, both on one core",
      job: "echo",
      peer: "echo",
      unit: "us",
      params: { size: 16, topics: 1 },
      pinned: true,
      quick: true,
    },
    {
      id: "echo",
      title: "Round trip through the echoing peer, 16 B",
      job: "echo",
      peer: "echo",
      unit: "us",
      params: { size: 16, topics: 1 },
    },
    {
      id: "opening",
      title: "From the call to the open connection, in a process that has done it before",
      job: "opening",
      peer: "sink",
      unit: "ms",
      params: { count: 50 },
      clients: modes,
      quick: true,
      detail: true,
    },
    {
      ...flow("receive", 16, 100),
      id: "free-16-100",
      title: "How late timers of the main thread ring while messages flood a module in the worker, 16 B, 100 topics",
      job: "free",
      unit: "ms",
      clients: ["mqtt3c_worker"],
      detail: true,
    },
    ...(["tls", "ws"] as const).flatMap((layer) =>
      [16, 4096].flatMap((size) => [flow("receive", size, 100, layer), flow("publish", size, 100, layer)])
    ),
    {
      id: "start",
      title: "Cold process to its first message",
      job: "start",
      peer: "flood",
      unit: "ms",
      params: { size: 16, topics: 1, messages: 1 },
      quick: true,
    },
    {
      id: "idle",
      title: "Memory per idle connection, 1,000 in one process",
      job: "idle",
      peer: "sink",
      unit: "bytes",
      params: { count: 1000 },
      clients: ["mqtt3c", "mqtt3c_worker", "mqttjs", "u8-mqtt", "raw"], // one that blocks waits for each in turn
      quick: true,
    },
    {
      id: "together",
      title: "1,000 connections opened at once, until all are open, in a process that has some",
      job: "together",
      peer: "sink",
      unit: "ms",
      params: { count: 1000 },
      clients: ["mqtt3c", "mqtt3c_worker"],
      detail: true,
    },
    {
      id: "mosquitto",
      title: "Publish to subscribe through mosquitto, 1,000 on their way, 16 B, 100 topics",
      job: "relay",
      peer: "mosquitto",
      unit: "messages/s",
      params: { size: 16, topics: 100, batch: 1000 },
    },
  ];
}
