/** The model of subscriptions: what the program asked for and gave up, and which packets may come of it. */
import type { Ack, Suback, Subscribe, Unsubscribe } from "../support/naive.ts";
import { type Broker, filterMatches, isRefusal } from "./broker.ts";
import type { World } from "./world.ts";

/** What the model must know of a connection. */
export interface Line {
  readonly index: number;
  readonly connacked: boolean;
  readonly closed: boolean;
  readonly paused: boolean;
  readonly resumedAt: number;
}

/** A filter as it was when something was asked for. */
interface Version {
  readonly filter: string;
  readonly version: number;
  readonly meddled: number;
  /** Whether nobody else wanted it then. */
  readonly fresh: boolean;
}

/** A call of subscribe() or messages(). */
export interface Ask {
  readonly filters: readonly Version[];
  /** Whether a promise tells what becomes of it. */
  readonly promised: boolean;
  /** The name of the handler of its own that gets its messages. */
  readonly handler: string | undefined;
  pending: boolean;
  /** Whether it was given up, and the answer may still come. */
  late: boolean;
  /** How many connections were lost while it had no answer. */
  lost: number;
  packetId: number | undefined;
  /** On how many connections it was asked for without an answer. */
  sent: number;
  /** Of an iterator: whether its answer may have been behind a full one, and gone with its connection. */
  vague: boolean;
  readonly refused: Set<string>;
  /** The reason code with which its own packet was refused. */
  refusal: number | undefined;
}

/** A filter, and whether anybody wants it. */
interface Wish {
  /** Counts the calls that ask for it, and all that may change what the broker has. */
  version: number;
  meddled: number;
  /** Whether surely nobody wants it; then no connection from `unwantedFrom` on may ask for it. */
  unwanted: boolean;
  unwantedFrom: number;
  /** Whether it was given up, and the broker must hear of it. */
  givenUp: boolean;
  /** Whether the broker has granted it, and nobody has meddled with it since. */
  granted: boolean;
  /** Whether the last request for it has failed, though the broker may have it: its copies say what the client has forgotten. */
  failed: boolean;
  /** Who gets its messages then, if it is not connect's onpub. */
  handler: string | undefined;
}

/** A call of unsubscribe() whose packet can be told from others: it has a filter that only one call asks for. */
interface GivingUp {
  readonly filters: string;
  packetId: number | undefined;
  /** The first reason code from 128 on in its answer. */
  refusal: number | undefined;
}

/** A request on its way. */
interface Sent {
  readonly packet: Subscribe | Unsubscribe;
  /** Whether it makes subscriptions again. */
  readonly renews: boolean;
  readonly at: number;
  readonly blocked: number;
}

/** What is asked for by one call alone begins with this. */
const OWN = "x/";

/** What was asked for, and what has become of it. */
export class Asks {
  readonly #world: World;
  readonly #fail: (what: string) => void;
  readonly #timeout: number;
  readonly #all: Ask[] = [];
  readonly #givingUp = new Set<GivingUp>();
  readonly #wishes = new Map<string, Wish>();
  /** Requests without an answer, by packet identifier. */
  readonly #sent = new Map<Line, Map<number, Sent>>();
  /** What each connection was asked for, by the call that asked first. */
  readonly #asked = new Map<Line, Set<Ask>>();
  /** What the broker must be asked for before a message goes out. */
  readonly #missing = new Map<Line, Set<string>>();
  /** The versions of all filters when the connection was accepted. */
  #then = new Map<string, number>();
  /** Refusals that were read, and that the client has not told; those it must tell. */
  readonly #refusals = new Map<string, number[]>();
  readonly #mustTell = new Set<string>();
  #wire: Line | undefined;

  constructor(world: World, timeout: number, fail: (what: string) => void) {
    this.#world = world;
    this.#timeout = timeout;
    this.#fail = fail;
  }

  #wish(filter: string): Wish {
    let wish = this.#wishes.get(filter);
    if (wish === undefined) {
      wish = {
        version: 0,
        meddled: 0,
        unwanted: true,
        unwantedFrom: 0,
        givenUp: false,
        granted: false,
        failed: false,
        handler: undefined,
      };
      this.#wishes.set(filter, wish);
    }
    return wish;
  }

  /** A filter that no other call asks for. */
  ownFilter(): string {
    return `${OWN}${this.#all.length}`;
  }

  /** Those that were ever asked for by one call alone. */
  get ownFilters(): string[] {
    return [...this.#wishes.keys()].filter((filter) => filter.startsWith(OWN));
  }

  // ---- what the program does

  ask(filters: readonly string[], promised: boolean, handler?: string): Ask {
    const versions = filters.map((filter) => {
      const wish = this.#wish(filter), fresh = wish.unwanted;
      this.meddle(filter);
      wish.unwanted = wish.givenUp = false;
      return { filter, version: ++wish.version, meddled: wish.meddled, fresh };
    });
    const state = {
      pending: true,
      late: false,
      lost: 0,
      packetId: undefined,
      sent: 0,
      vague: false,
      refused: new Set<string>(),
      refusal: undefined,
    };
    const ask: Ask = { filters: versions, promised, handler, ...state };
    this.#all.push(ask);
    return ask;
  }

  /** What was asked for is granted, or has failed. */
  settled(ask: Ask, code?: string | number): void {
    if (!ask.pending) return;
    ask.pending = false;
    this.#checkCode(ask, code);
    ask.late = code === "timeout" || code === "overflow"; // which may have been asked for
    for (const version of ask.filters) {
      const { filter, fresh } = version, wish = this.#wish(filter);
      wish.failed = code !== undefined;
      if (code === undefined) {
        // Whether the client has seen an iterator's answer in time, nobody tells.
        if (ask.promised && wish.meddled === version.meddled) {
          Object.assign(wish, { granted: true, handler: ask.handler });
        }
      } else if (fresh && (!isRefusal(code) || ask.refused.has(filter) || ask.filters.length === 1)) {
        this.#unwant(version);
      }
    }
  }

  /** The code of a refusal is that of the first filter that was refused, where its packet can be told from others. */
  #checkCode({ promised, filters, refusal, packetId }: Ask, code: string | number | undefined): void {
    if (!promised || packetId === undefined || !isRefusal(code ?? 0) || code === refusal) return;
    this.#fail(`${filters.map(({ filter }) => filter)} is refused with ${code}, not ${refusal}`);
  }

  /** An iterator's filter is granted among others; whether that answers its own request, the filters may tell. */
  seems(ask: Ask, filters: readonly string[]): void {
    const others = this.#all.filter((other) => (other.pending || other.late) && isPartOf(filters, other));
    if (others.length === 1 && filters.length === ask.filters.length) this.settled(ask);
    else ask.vague = true;
  }

  /** Somebody gives up filters. */
  giveUp(filters: readonly string[]): Version[] {
    return filters.map((filter) => {
      this.meddle(filter);
      return { ...this.#wish(filter), filter, fresh: true };
    });
  }

  /** A call gives filters up; what is returned is told how it ends: with a code, or none. */
  gives(filters: readonly string[]): (code: string | number | undefined) => void {
    if (!filters.some((filter) => filter.startsWith(OWN))) return () => {};
    const call: GivingUp = { filters: filters.join(), packetId: undefined, refusal: undefined };
    this.#givingUp.add(call);
    return (code) => {
      this.#givingUp.delete(call);
      // It may fail with the end of the client, too.
      const isRight = call.refusal === undefined
        ? !isRefusal(code ?? 0)
        : code !== undefined && (code === call.refusal || !isRefusal(code));
      if (!isRight) this.#fail(`giving up ${filters} ends with ${code}, and the broker has said ${call.refusal}`);
    };
  }

  /** That is done; `away`: there is no connection. */
  gaveUp(filters: readonly Version[], away: boolean): void {
    for (const version of filters) {
      if (!away && this.isAsking(version.filter)) continue;
      this.#unwant(version);
      const wish = this.#wish(version.filter);
      wish.givenUp = wish.unwanted;
    }
  }

  #unwant({ filter, version }: Pick<Version, "filter" | "version">): void {
    const wish = this.#wish(filter), wire = this.#wire;
    if (wish.version !== version || wish.unwanted) return;
    wish.unwanted = true;
    wish.unwantedFrom = wire === undefined ? 0 : wire.index + (wire.connacked || wire.closed ? 1 : 0);
  }

  /** Whether the broker may have a filter for which the last request has failed. */
  hasFailed(filter: string): boolean {
    return this.#wish(filter).failed;
  }

  /** The handlers of filters that the broker has granted, and nobody has meddled with since. */
  handlers(topic: string): string[] {
    const found = [...this.#wishes].filter(([filter, { granted }]) => granted && filterMatches(filter, topic));
    return found.flatMap(([, { handler }]) => handler ?? []);
  }

  /** Whether surely nobody else wants what was asked for. */
  isAlone({ filters }: Ask): boolean {
    return filters.every(({ filter, version, fresh }) => fresh && this.#wish(filter).version === version);
  }

  /** Whether an answer may come that grants it. */
  isAsking(filter: string): boolean {
    return this.#all.some(({ pending, late, filters }) =>
      (pending || late) && filters.some((other) => other.filter === filter)
    );
  }

  /** Who asks for a filter again, gives it up or is refused: it need not be there any more. */
  meddle(filter: string): void {
    const wish = this.#wish(filter);
    wish.granted = false;
    wish.meddled++;
    for (const missing of this.#missing.values()) missing.delete(filter);
  }

  // ---- what passes on the connections

  /** CONNECT is sent. */
  connecting(wire: Line): void {
    this.#wire = wire;
    this.#sent.set(wire, new Map());
    this.#asked.set(wire, new Set());
    this.#missing.set(wire, new Set());
  }

  connected(wire: Line, sessionPresent: boolean): void {
    this.#then = new Map([...this.#wishes].map(([filter, { version }]) => [filter, version]));
    if (sessionPresent) return;
    const granted = [...this.#wishes].filter(([, wish]) => wish.granted);
    this.#missing.set(wire, new Set(granted.map(([filter]) => filter)));
  }

  /** What must be asked for before a message goes out. */
  missing(wire: Line): string | undefined {
    const [missing] = this.#missing.get(wire)!;
    return missing;
  }

  gone(wire: Line): void {
    if (!wire.connacked) return;
    for (const ask of this.#all) {
      if (ask.pending) ask.lost++;
      ask.vague ||= wire.paused && !ask.promised;
      ask.late = false;
    }
    this.#refusals.clear();
    if (wire.paused) this.#mustTell.clear(); // the answer may be behind a full iterator
  }

  wrote(wire: Line, packet: Subscribe | Unsubscribe): void {
    const filters = filtersOf(packet), sent = this.#sent.get(wire)!;
    for (const filter of filters) this.#missing.get(wire)!.delete(filter);
    if (sent.has(packet.packetId)) this.#fail(`packet identifier ${packet.packetId} is taken, and in use`);
    const call = [...this.#givingUp].find(({ packetId, filters: all }) =>
      packetId === undefined && all === filters.join()
    );
    if (packet.type === "UNSUBSCRIBE" && call !== undefined) call.packetId = packet.packetId;
    const renews = packet.type === "SUBSCRIBE" && this.#subscribes(wire, packet);
    sent.set(packet.packetId, { packet, renews, at: this.#world.now, blocked: this.#world.blocked });
  }

  /** Checks a SUBSCRIBE; whether it makes a subscription again. */
  #subscribes(wire: Line, packet: Subscribe): boolean {
    const filters = filtersOf(packet);
    for (const filter of filters) {
      const { unwanted, unwantedFrom } = this.#wish(filter);
      if (unwanted && wire.index >= unwantedFrom) this.#fail(`${filter} is asked for, and nobody wants it`);
    }
    const own = filters.filter((filter) => filter.startsWith(OWN));
    const asks = this.#all.filter((ask) => isPartOf(filters, ask));
    if (asks.length === 0) this.#fail(`no call asked for ${filters} together`);
    const [ask] = asks;
    if (own.length === 0 || ask === undefined) return false;
    if (this.#asked.get(wire)!.has(ask)) this.#fail(`${own} is asked for twice`);
    this.#asked.get(wire)!.add(ask);
    if (!ask.pending) return !ask.late;
    if (ask.sent++ === 2) this.#fail(`${own} is asked for on a third connection`);
    ask.packetId ??= packet.packetId;
    if (ask.packetId !== packet.packetId) this.#fail(`${own} is asked for with another identifier`);
    return false;
  }

  /** Whether a request on this connection has no answer yet. */
  isUnanswered(wire: Line): boolean {
    return (this.#sent.get(wire)?.size ?? 0) > 0;
  }

  /** What the request with that identifier asks for. */
  filtersOf(wire: Line, packetId: number): string[] {
    const sent = this.#sent.get(wire)?.get(packetId);
    return sent === undefined ? [] : filtersOf(sent.packet);
  }

  answered(wire: Line, packet: Suback | Ack): void {
    const sent = this.#sent.get(wire)?.get(packet.packetId);
    this.#sent.get(wire)?.delete(packet.packetId);
    if (packet.type === "UNSUBACK" && sent?.packet.type === "UNSUBSCRIBE") {
      const call = [...this.#givingUp].find(({ packetId }) => packetId === packet.packetId);
      const refusal = packet.codes?.find((code) => code >= 128);
      if (call !== undefined) call.refusal = refusal;
      // What the broker keeps although it was told stays with it.
      sent.packet.filters.forEach((filter, i) => {
        if ((packet.codes?.[i] ?? 0) >= 128) this.#wish(filter).givenUp = false;
      });
    }
    if (packet.type !== "SUBACK" || sent?.packet.type !== "SUBSCRIBE") return;
    const ask = this.#all.find(({ pending, packetId }) => pending && packetId === packet.packetId);
    if (ask !== undefined) ask.refusal = packet.codes.find((code) => code >= 128);
    filtersOf(sent.packet).forEach((filter, i) => {
      const code = packet.codes[i]!;
      if (code < 128) return;
      this.meddle(filter);
      for (const ask of this.#all) if (ask.pending && isPartOf([filter], ask)) ask.refused.add(filter);
      this.#refusals.set(filter, [...this.#refusals.get(filter) ?? [], code]);
      if (sent.renews && filter.startsWith(OWN)) this.#mustTell.add(filter);
    });
  }

  /** The client tells that a filter was refused when it was asked for again. */
  refused(filter: string, code: string | number): void {
    const codes = this.#refusals.get(filter) ?? [], at = codes.indexOf(code as number);
    if (at < 0) this.#fail(`it tells that ${filter} is refused with ${code}, which it is not`);
    this.#refusals.set(filter, codes.filter((_, i) => i !== at));
    this.#mustTell.delete(filter);
    if (!this.isAsking(filter)) this.#unwant({ filter, version: this.#then.get(filter) ?? 0 });
  }

  // ---- what must hold

  /** After a step; `told`: somebody listens to onstatus. */
  check({ told, left }: { told: boolean; left: boolean }): void {
    const world = this.#world, wire = this.#wire;
    for (const { promised, pending, lost, filters } of this.#all) {
      if (promised && pending && lost > 1 && !left) {
        this.#fail(`${filters.map(({ filter }) => filter)} waits though two connections were lost`);
      }
    }
    const [filter] = this.#mustTell;
    if (!told || left) this.#mustTell.clear();
    else if (filter !== undefined && !wire!.paused) this.#fail(`nobody is told that ${filter} is refused`);
    if (wire === undefined || wire.closed || wire.paused || left) return;
    for (const { renews, at, blocked, packet } of this.#sent.get(wire)!.values()) {
      const waited = world.now - Math.max(at, wire.resumedAt) - (world.blocked - blocked);
      if (renews && waited > this.#timeout + 2000) {
        this.#fail(`${filtersOf(packet)} is not made again for ${waited} ms`);
      }
    }
  }

  /** Long after all faults: the broker has what was granted, and nothing that was given up. */
  checkQuiet(broker: Broker): void {
    for (const [filter, { granted, unwanted, givenUp }] of this.#wishes) {
      if (granted && !broker.filters.has(filter)) this.#fail(`the subscription to ${filter} is lost`);
      if (unwanted && givenUp && broker.filters.has(filter)) this.#fail(`the broker was not told to give up ${filter}`);
    }
  }
}

function filtersOf(packet: Subscribe | Unsubscribe): string[] {
  return packet.type === "SUBSCRIBE" ? packet.filters.map(({ topic }) => topic) : packet.filters;
}

/** Whether the filters are among those of a call, in the same order. */
function isPartOf(filters: readonly string[], ask: Ask): boolean {
  let at = 0;
  for (const { filter } of ask.filters) if (filters[at] === filter) at++;
  return at === filters.length;
}
