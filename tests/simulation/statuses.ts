/** The model of what onstatus tells: each change once, in order, with the right delay and number. */
import type { ConnectionStatus, Status } from "../../src/status.ts";
import type { ReconnectSettings } from "../../src/session/retry.ts";
import type { Head, Wire } from "./wire.ts";
import type { World } from "./world.ts";

/** How much later than its delay an attempt may begin: timers ring late, and are looked at once more. */
const LATE = 400;

/** What another attempt cannot mend for a client that was never accepted. */
const FINAL: readonly (string | number)[] = [
  ...[1, 2, 4, 5, "untrusted", "wrongname", "expired"],
  ...[129, 130, 132, 133, 134, 135, 138, 140, 144, 149, 153, 154, 155, 157], // of version 5
];

/** Whether a message that is dropped is one that was to be published, and not one that came. */
export function isRejection({ error }: Extract<Status, { type: "dropped" }>): boolean {
  return !error.message.includes("maxPacketSize");
}

/** Why it was lost. */
interface Failure {
  readonly code: string | number;
}

/** How the client stays connected. */
export interface Rules {
  readonly policy: ReconnectSettings | undefined;
  /** Whether the program is asked when the next attempt is. */
  readonly asks: boolean;
  readonly offline: boolean;
  readonly addresses: readonly (string | undefined)[];
}

export class Statuses {
  readonly #world: World;
  readonly #policy: ReconnectSettings | undefined;
  readonly #rules: Rules;
  /** Which address is next; how many failed before the first connection, and how many refused for good in a row. */
  #place = 0;
  #tried = 0;
  #refused = 0;
  readonly #fail: (what: string) => void;
  /** The last of the connection's. */
  last: ConnectionStatus | undefined;
  #attempts = 0;
  #failures = 0;
  #accepted = false;
  #acceptedAt: number | undefined;
  /** How often each was told. */
  readonly told: Record<Status["type"], number> = {
    connecting: 0,
    connected: 0,
    waiting: 0,
    closed: 0,
    refused: 0,
    dropped: 0,
    stalled: 0,
    store: 0,
  };
  #waitsFrom = 0;
  #blockedThen = 0;

  constructor(world: World, rules: Rules, fail: (what: string) => void) {
    this.#world = world;
    this.#rules = rules;
    this.#policy = rules.policy;
    this.#fail = fail;
  }

  /** The client tells a status; `wire`: the connection it uses. */
  tell(status: Status, wire: Wire | undefined): void {
    const before = this.last?.type;
    this.told[status.type]++;
    if (before === "closed") this.#fail(`${status.type} is told after closed`);
    const after = (...types: (string | undefined)[]) => {
      if (!types.includes(before)) this.#fail(`${status.type} is told after ${before}`);
    };
    switch (status.type) {
      case "connecting":
        if (this.#repeats) after("connecting");
        else after(undefined, "waiting");
        if (status.address !== this.#rules.addresses[this.#place]) this.#fail(`${status.address} is not the next`);
        if (!this.#repeats) this.#attempts++;
        this.#repeats = false;
        if (status.attempt !== this.#attempts) this.#fail(`attempt ${status.attempt} is ${this.#attempts}`);
        break;
      case "connected":
        after("connecting");
        if (!wire?.connacked || status.sessionPresent !== wire.sessionPresent || status.version !== wire.version) {
          this.#fail("connected is told wrongly");
        }
        this.#attempts = 0;
        this.#accepted = true;
        this.#acceptedAt = this.#world.now;
        break;
      case "waiting":
        after("connecting", "connected");
        this.#checkDelay(status.delay, status.error);
        break;
      case "closed":
        break;
      case "dropped":
        if (isRejection(status)) return; // at any time
        return after("connected");
      default:
        return after("connected");
    }
    this.last = status;
  }

  /** The attempt is made once more, with the older version. */
  fallsBack(): void {
    this.#repeats = true;
  }
  #repeats = false;

  /** Counts a failure; whether it may be tried again, and when. */
  #failed({ code }: Failure): "never" | "now" | "later" {
    const policy = this.#policy, lasted = this.#world.now - (this.#acceptedAt ?? Infinity);
    const { addresses, offline } = this.#rules;
    this.#acceptedAt = undefined;
    this.#place = (this.#place + 1) % addresses.length;
    this.#refused = FINAL.includes(code) ? this.#refused + 1 : 0;
    this.#tried++;
    if (policy !== undefined && (this.#accepted || offline)) {
      this.#failures = lasted >= policy.stableAfter ? 1 : this.#failures + 1;
    }
    if (!this.#accepted && !offline) return this.#tried < addresses.length ? "now" : "never";
    if (!this.#accepted && this.#refused >= addresses.length) return "never";
    return policy !== undefined && this.#failures <= policy.attempts ? "later" : "never";
  }

  /** The program was asked when the next attempt is, and has answered. */
  asked(failures: number, answer: number | undefined): void {
    this.#answer = { failures, answer };
  }
  #answer: { failures: number; answer: number | undefined } | undefined;

  /** When the program says the next attempt is, if it is asked. */
  #answered(): number | undefined {
    const asked = this.#answer;
    this.#answer = undefined;
    if (asked?.failures !== this.#failures) {
      this.#fail(`the policy hears of ${asked?.failures} failures, not ${this.#failures}`);
    }
    return asked?.answer;
  }

  #checkDelay(delay: number, error: Failure): void {
    const next = this.#failed(error);
    if (next === "never") return this.#fail("it waits for another attempt, which it should not make");
    const { minDelay, maxDelay } = this.#policy ?? { minDelay: 0, maxDelay: 0 };
    const usual = this.#world.chance * Math.min(maxDelay, minDelay * 2 ** (this.#failures - 1));
    const right = next === "now" ? 0 : this.#rules.asks ? this.#answered() : usual;
    if (delay !== right) this.#fail(`a delay of ${delay} ms that should be ${right}`);
    this.#waitsFrom = this.#world.now;
    this.#blockedThen = this.#world.blocked;
  }

  /** An attempt begins. */
  dials(): void {
    if (this.last?.type !== "waiting") return;
    const waited = this.#world.now - this.#waitsFrom, { delay } = this.last;
    if (waited < delay) this.#fail(`an attempt after ${waited} ms, before its ${delay}`);
    if (waited - (this.#world.blocked - this.#blockedThen) > delay + LATE) {
      this.#fail(`an attempt after ${waited} ms, long after its ${delay}`);
    }
  }

  /** The client ends although the program did not want it: whether it had to. */
  checkEnd(error: Failure): void {
    const next = this.#failed(error);
    if (next === "later" && this.#rules.asks && this.#answered() === undefined) return;
    if (next !== "never") this.#fail("it ends although it should be tried again");
  }
}

/** Messages over maxPacketSize that the client has to tell, in order. */
export class Drops {
  readonly #fail: (what: string) => void;
  #waiting: { head: Head; undo: () => void }[] = [];
  /** Those the client has counted, and those it has told. */
  #counted = 0;
  #told = 0;
  #untold: Head[] = [];

  constructor(fail: (what: string) => void) {
    this.#fail = fail;
  }

  /** One has come; `undo` is called when the client never sees it. */
  add(head: Head, undo: () => void): void {
    this.#waiting.push({ head, undo });
  }

  /** The client has counted so many. */
  count(count: number): void {
    for (; this.#counted < count; this.#counted++) {
      const dropped = this.#waiting.shift();
      if (dropped === undefined) return this.#fail("a message is counted as dropped that did not come");
      this.#untold.push(dropped.head);
    }
  }

  tell({ topic, size, error }: Extract<Status, { type: "dropped" }>): void {
    this.#told++;
    const head = this.#untold.shift();
    if (head?.topic !== topic || head.size !== size || error.code !== "overflow") {
      this.#fail(`${topic} of ${size} bytes is told as dropped, instead of ${head?.topic} of ${head?.size}`);
    }
  }

  /** The connection is lost: what the client has not seen, it never will. */
  gone(): void {
    for (const { undo } of this.#waiting.splice(0)) undo();
  }

  /** All that has come is counted, and told if somebody listens. */
  check(listens: boolean): void {
    if (this.#waiting.length > 0) this.#fail(`a message of ${this.#waiting[0]!.head.size} bytes is not counted`);
    if (listens && this.#untold.length > 0) this.#fail(`a message to ${this.#untold[0]!.topic} is not told`);
    if (!listens) this.#untold = [];
    else if (this.#told !== this.#counted) this.#fail(`${this.#told} are told, ${this.#counted} counted`);
  }
}
