/**
 * A history of hints: a client whose connections break, die and come back, and which is told at any time that the way to its
 * broker may have changed. It plays nothing but that; the rules are those of `Session.wake`.
 */
import type { Client } from "../../src/api.ts";
import type { Status } from "../../src/status.ts";
import { encodeNaive, NaiveReader } from "../support/naive.ts";
import { Random } from "../support/random.ts";
import type { Sink, Transport } from "../../src/transport/transport.ts";
import { type Outcome, Violation } from "./outcome.ts";
import type { Library } from "./library.ts";
import { World } from "./world.ts";

/** Milliseconds: how late timers ring here; how long PINGRESP is awaited, with the looks after that; how long a hint counts. */
const LATE = 200, UNANSWERED = 11_000, COUNTS = 15_000;
/** Milliseconds that an attempt may take. */
const TIMEOUT = 10_000;
const CONNACK = encodeNaive({ type: "CONNACK", sessionPresent: false, code: 0 });
const PINGRESP = encodeNaive({ type: "PINGRESP" });

/** A connection to a broker that may be dead: then it takes bytes, and answers nothing. */
class Line implements Transport {
  readonly sock: object = {};
  readonly trusted = false;
  isDead = false;
  isOpen = true;
  #sink: Sink | undefined;
  readonly #reader = new NaiveReader();
  readonly #heard: (type: string) => void;

  constructor(heard: (type: string) => void) {
    this.#heard = heard;
  }

  start(sink: Sink): void {
    this.#sink = sink;
  }

  write(bytes: Uint8Array): boolean {
    for (const { type } of this.#reader.push(bytes)) this.#heard(type);
    return true;
  }

  send(bytes: Uint8Array): void {
    if (this.isOpen && !this.isDead) this.#sink?.received(bytes, bytes.length);
  }

  break(error: Error): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#sink?.closed(error as Parameters<Sink["closed"]>[0]);
  }

  resume(): void {}
  end(): void {}

  close(): void {
    this.isOpen = false;
  }
}

/** Plays a seed's history, and throws the first {@linkcode Violation}. */
export async function playHints(seed: number, library: Library, log?: (line: string) => void): Promise<Outcome> {
  const random = new Random(seed), world = new World(random);
  const keepalive = random.pick([0, 100, 100, 100]);
  const pause = random.pick([30_000, 1_000_000]);
  const asks = random.chance(0.3);
  const reconnect = asks ? () => undefined : { minDelay: pause, maxDelay: pause };
  const settings = library.parseSettings({ id: "x", keepalive, reconnect, timeout: TIMEOUT, offline: true }, [{}]);
  const told = new Set<string>();
  let hint: (() => void) | undefined, violation: Violation | undefined;
  let line: Line | undefined, dials = 0, isAsked = false, isLeft = false, planned = 0;
  /** When a hint came that has led to no attempt yet. */
  let hintedAt = -Infinity;
  /** By when the client must have made an attempt, sent PINGREQ, or given up. */
  let dialBy = Infinity, dialFrom = 0, pingBy = Infinity, giveUpBy = Infinity;

  const note = (what: string) => log?.(`${String(Math.round(world.now)).padStart(9)}  ${what}`);
  const fail = (what: string) => void (violation ??= new Violation(`${what} (at ${world.now} ms)`));

  const dial = (signal: AbortSignal): Promise<Transport> => {
    note("an attempt");
    dials++;
    if (world.now < dialFrom) fail("an attempt before it is due");
    dialBy = dialFrom = Infinity;
    if (line?.isOpen) fail("a second connection beside the first");
    const begun = world.now;
    return new Promise((resolve, reject) => {
      let isOver = false;
      signal.addEventListener("abort", () => {
        if (!isOver && world.now < begun + TIMEOUT && !isLeft) fail("an attempt that is under way is given up");
        isOver = true;
        reject(signal.reason);
      });
      if (random.chance(0.1)) return; // it hangs
      world.onThread(random.int(0, 5000), () => {
        if (isOver) return;
        isOver = true;
        if (random.chance(0.3)) return reject(new library.MqttError("cannotconnect", "Nobody listens"));
        const opened = line = new Line((type) => hear(opened, type));
        resolve(opened);
      });
    });
  };

  function hear(from: Line, type: string): void {
    note(`< ${type}`);
    if (type === "CONNECT") return from.send(CONNACK);
    if (type !== "PINGREQ") return;
    if (keepalive === 0) fail("PINGREQ without a keep alive");
    pingBy = Infinity;
    told.add("pinged");
    if (from.isDead) giveUpBy = Math.min(giveUpBy, world.now + UNANSWERED);
    else world.onThread(random.int(0, 500), () => from.send(PINGRESP));
  }

  function hearStatus(status: Status): void {
    note(JSON.stringify(status));
    told.add(status.type);
    if (status.type !== "waiting") return;
    pingBy = giveUpBy = Infinity;
    const isHinted = world.now - hintedAt < COUNTS;
    const right = isHinted ? 0 : asks ? planned : world.chance * pause;
    if (status.delay !== right) fail(`a delay of ${status.delay} ms that should be ${right}`);
    if (isHinted) told.add("at once");
    hintedAt = -Infinity;
    dialFrom = world.now + right;
    dialBy = dialFrom + LATE;
  }

  function giveHint(): void {
    note("a hint");
    if (hint === undefined) return isLeft ? undefined : fail("nothing hears hints");
    hint();
    const { type } = client.status;
    if (type === "waiting" && !isAsked) {
      told.add("woken");
      dialFrom = world.now;
      dialBy = Math.min(dialBy, world.now + LATE);
      return;
    }
    hintedAt = world.now;
    if (type !== "connected" || isAsked || keepalive === 0) return;
    // One that is under way is the answer's to come.
    if (giveUpBy === Infinity) pingBy = Math.min(pingBy, world.now + LATE + 1000);
    if (line!.isDead) giveUpBy = Math.min(giveUpBy, world.now + UNANSWERED + LATE);
  }

  /** The program decides when the next attempt is, and takes its time. */
  const policy = (): Promise<number> => {
    isAsked = true;
    pingBy = giveUpBy = Infinity; // the connection is lost
    return world.sleep(random.int(0, 3000)).then(() => {
      isAsked = false;
      return planned = random.int(0, 100_000);
    });
  };
  const client: Client = new library.LoopClient(settings, {
    dial,
    policy: asks ? policy : undefined,
    onstatus: hearStatus,
    clock: world.clock,
    hints: (wake) => {
      hint = wake;
      return () => hint = undefined;
    },
  }, { resolve() {}, reject() {} }); // it is there at once, and hears of each attempt

  const horizon = 600_000, lost = () => new library.MqttError("socketclosed", "It broke");
  for (let i = random.int(3, 30); i > 0; i--) {
    const at = random.int(0, horizon);
    world.onThread(at, giveHint);
    // Others come soon after it: another one, and what becomes of the connection.
    if (random.chance(0.3)) world.onThread(at + random.int(0, 12_000), giveHint);
    if (random.chance(0.3)) world.onThread(at + random.int(0, 30_000), () => line?.break(lost()));
  }
  for (let i = random.int(0, 10); i > 0; i--) {
    world.onThread(
      random.int(0, horizon),
      () => random.chance(0.5) ? line?.break(lost()) : line && (line.isDead = true),
    );
  }
  world.onThread(horizon, () => {
    isLeft = true;
    void client.disconnect();
  });
  await world.run(() => {
    if (violation !== undefined) throw violation;
    const { now } = world;
    if (client.status.type === "closed") return hint && fail("hints are heard after the end");
    if (isLeft) return;
    if (now > dialBy) fail("an attempt is late");
    if (now > pingBy) fail("PINGREQ is late");
    if (now > giveUpBy) fail("a dead connection is kept after a hint");
  }, 20_000);
  if (violation !== undefined) throw violation;
  const { code } = await client.run();
  return { steps: world.steps, code, connections: dials, faults: [], published: 0, delivered: 0, told: [...told] };
}
