/** What a child has told, and what became of its messages: judged when all is over. */
import { assert, assertEquals } from "@std/assert";
import type { Packets } from "./packets.ts";
import { contentOf, type Level, levels, topicOf } from "./task.ts";

/** How a broker is treated: one that is killed loses what it has acknowledged. */
export type Treatment = "stays" | "SIGTERM" | "SIGKILL";

/** A message that a handler has begun, in the order of beginning. */
interface Handling {
  run: number;
  qos: Level;
  number: number;
  isDone: boolean;
}

/** How it went: numbers of messages. */
export interface Figures {
  published: number;
  stored: number;
  arrived: number;
  /** Came more than once at QoS 1. */
  repeated: number;
  fed: number;
  /** Handled more than once, at QoS 1 and at QoS 2. */
  again1: number;
  again2: number;
}

/** How strictly a client is judged. */
export interface Strictness {
  treatment: Treatment;
  /** Whether its store's flushes take their time: what is handled is recorded later then. */
  slow: boolean;
}

/** One client's messages, over all of its processes. */
export class Account {
  readonly id: string;
  /** Counts its processes. */
  run = -1;
  /** The next number that was never published. */
  readonly next: Record<Level, number> = { 1: 0, 2: 0 };
  /** Topics of what was told as stored, and how many. */
  readonly stored: Set<string> = new Set();
  /** What arrived, by QoS. */
  readonly arrived: Record<Level, number[]> = { 1: [], 2: [] };
  /** The next number that it is to be sent, and those that it has handled. */
  readonly nextFed: Record<Level, number> = { 1: 0, 2: 0 };
  readonly handled: Record<Level, Set<number>> = { 1: new Set(), 2: new Set() };
  readonly #handlings: Handling[] = [];
  readonly #wrong: string[] = [];
  /** How many times it was told to disconnect. */
  ends = 0;
  /** Whether it gets messages; and whether an earlier process did, so that the broker keeps them. */
  isSubscribed = false;
  wasSubscribed = false;
  isDone = false;

  constructor(id: string) {
    this.id = id;
  }

  /** Whatever its child has told. */
  told([what, ...rest]: string[]): void {
    const qos = Number(rest[0]) as Level, number = Number(rest[1]);
    if (what === "begins") {
      this.run++;
      this.isSubscribed = false;
    } else if (what === "subscribed") this.isSubscribed = this.wasSubscribed = true;
    else if (what === "done") this.isDone = true;
    else if (what === "publishes") this.next[qos] = number + 1;
    else if (what === "stored") this.stored.add(topicOf(this.id, "out", qos, number));
    else if (what === "handles") this.#handlings.push({ run: this.run, qos, number, isDone: false });
    else if (what === "handled") {
      this.#handlings.findLast((handling) => handling.qos === qos && handling.number === number)!.isDone = true;
      this.handled[qos].add(number);
    } else this.#wrong.push([what, ...rest].join(" "));
  }

  /** A message has come to the collector. */
  collected(qos: Level, number: number, content: string): void {
    const topic = topicOf(this.id, "out", qos, number);
    if (content !== contentOf(topic)) this.#wrong.push(`the content of ${topic}`);
    this.arrived[qos].push(number);
  }

  /** How many messages that it was sent it has not handled. */
  unhandled(qos: Level): number {
    return this.nextFed[qos] - this.handled[qos].size;
  }

  /** Of what was told as stored, the topics of what has not arrived. */
  get missing(): string[] {
    const arrived = new Set(levels.flatMap((qos) => this.arrived[qos].map((n) => topicOf(this.id, "out", qos, n))));
    return [...this.stored].filter((topic) => !arrived.has(topic));
  }

  /** Fails if a promise was broken. `packets`: those of its line, and of the collector's. */
  judge({ treatment, slow }: Strictness, packets: { own: Packets; collector: Packets }): Figures {
    const figures = this.#figures, text = `${this.id}: ${JSON.stringify(figures)}`;
    assertEquals(this.#wrong, [], text);
    const unacknowledged = [...this.stored].filter((topic) => !packets.own.acknowledged.has(topic));
    assertEquals(unacknowledged, [], `${text}: told as stored, and not acknowledged`);
    for (const qos of levels) {
      const arrived = this.arrived[qos], begun = this.#handlings.filter((handling) => handling.qos === qos);
      assert(arrived.every((number) => number < this.next[qos]), `${text}: arrived, and never published`);
      assert(begun.every(({ number }) => number < this.nextFed[qos]), `${text}: handled, and never sent`);
      if (treatment === "SIGKILL") continue;
      assertInOrder(arrived, `${text}: arrived at QoS ${qos}`);
      assertInOrder(begun.map(({ number }) => number), `${text}: handled at QoS ${qos}`);
      assertEquals(this.handled[qos].size, this.nextFed[qos], `${text}: lost, of what it was sent at QoS ${qos}`);
    }
    if (treatment !== "SIGKILL") assertEquals(this.missing, [], `${text}: told as stored, and lost`);
    for (const number of treatment === "SIGKILL" ? [] : repeats(this.arrived[2])) {
      const topic = topicOf(this.id, "out", 2, number);
      const sentAgain = (packets.collector.deliveries.get(topic) ?? 0) > 1;
      assert(sentAgain && treatment !== "stays", `${text}: ${topic} arrived twice`);
    }
    this.#judgeHandlings(packets.own, { treatment, slow }, text);
    return figures;
  }

  /**
   * What was handled again at QoS 2 was in hand when the process was killed: no handler has ended after it. Or PUBREC had
   * not gone out, where a store takes its time. Or the broker has sent it again after PUBREL, which is the broker's mistake.
   */
  #judgeHandlings({ deliveries, recorded }: Packets, { treatment, slow }: Strictness, text: string): void {
    const done = this.#handlings.filter(({ qos }) => qos === 2);
    done.forEach((handling, i) => {
      const { number, run } = handling;
      const again = done.findIndex((other, j) => j > i && other.number === number);
      if (again < 0) return;
      const topic = topicOf(this.id, "in", 2, number);
      if (treatment !== "stays" && (deliveries.get(topic) ?? 0) > 1) return;
      const at = this.#handlings.indexOf(handling);
      const later = this.#handlings.filter((other, j) => j > at && other.run === run && other.isDone);
      const inHand = slow || later.length === 0;
      assert(done[again]!.run > run && inHand, `${text}: ${topic} was handled in run ${run}, and again`);
    });
    if (treatment !== "stays") return;
    // Counted at the line: once PUBREC is out, it is the last time.
    for (const [topic, count] of recorded) assertEquals(deliveries.get(topic), count, `${text}: ${topic} came again`);
  }

  get #figures(): Figures {
    const { arrived, handled, nextFed, stored, next } = this;
    const count = (qos: Level) => this.#handlings.filter((handling) => handling.qos === qos).length;
    return {
      published: next[1] + next[2],
      stored: stored.size,
      arrived: new Set(arrived[1]).size + new Set(arrived[2]).size,
      repeated: repeats(arrived[1]).length,
      fed: nextFed[1] + nextFed[2],
      again1: count(1) - handled[1].size,
      again2: count(2) - handled[2].size,
    };
  }
}

/** Numbers that came before. */
function repeats(numbers: readonly number[]): number[] {
  const seen = new Set<number>();
  return numbers.filter((number) => seen.size === seen.add(number).size);
}

/** At its first time, each comes after those before it. */
function assertInOrder(numbers: readonly number[], what: string): void {
  const first = [...new Set(numbers)];
  const at = first.findIndex((number, i) => i > 0 && number < first[i - 1]!);
  assert(at < 0, `${what}: ${first[at]} after ${first[at - 1]}`);
}
