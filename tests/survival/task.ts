/** What a child is to do, and what the messages are: known to the child, and to its parent. */
import { Random } from "../support/random.ts";

/** How the child calls the library. */
export type Mode = "connect" | "connectWorker" | "connectSync" | "module";

/** The kinds of client there are. */
export const modes: readonly Mode[] = ["connect", "connectWorker", "connectSync", "module"];

/** The levels at which something is promised. */
export const levels = [1, 2] as const;
export type Level = typeof levels[number];

/** One client, from connecting to disconnecting, if nobody kills it. */
export interface Task {
  mode: Mode;
  port: number;
  /** Client identifier, and the first level of its topics. */
  id: string;
  /** Of the store's file. */
  path: string;
  seed: number;
  /** The first numbers that were never published, by QoS. */
  next: Record<Level, number>;
  /** How many messages it publishes; until it is killed by default. */
  count?: number;
  /** The longest pause between messages that it publishes, and how long it has a message in hand, at the most; milliseconds. */
  pause: number;
  /** The flush of the store at which it kills itself, the first is 1. */
  dies?: { flush: number; when: "before" | "after" };
  /** Whether the flushes of its store take their time: so many milliseconds, at the most. */
  slow?: number;
}

/** The topic of a message that the child publishes, or gets. */
export function topicOf(id: string, way: "out" | "in", qos: Level, number: number): string {
  return `${id}/${way}/${qos}/${number}`;
}

/** What a topic says; undefined when it is none of these. */
export function readTopic(topic: string): { id: string; way: "out" | "in"; qos: Level; number: number } | undefined {
  const [, id, way, qos, number] = /^(\w+)\/(out|in)\/([12])\/(\d+)$/.exec(topic) ?? [];
  if (number === undefined) return undefined;
  return { id: id!, way: way as "out" | "in", qos: Number(qos) as Level, number: Number(number) };
}

/** The content of the message with a topic: mostly short, sometimes a few thousand letters. */
export function contentOf(topic: string): string {
  let seed = 0;
  for (const letter of topic) seed = Math.imul(seed, 31) + letter.charCodeAt(0);
  const random = new Random(seed);
  return `${topic} ${"x".repeat(random.chance(0.03) ? 5000 : random.int(0, 300))}`;
}
