/** SUBSCRIBE and UNSUBSCRIBE until they are answered: their packet identifiers, deadlines, and what a lost connection does to them.
 * @module */

import { MqttError } from "../errors.ts";
import { LazyMap } from "../lazy.ts";
import type { Limits } from "../options5.ts";
import { encode } from "../protocol/encoder.ts";
import { tooLarge } from "../protocol/packer.ts";
import {
  type FilterRequest,
  NAMES,
  SUBACK,
  type SubackPacket,
  SUBSCRIBE,
  type UnsubackPacket,
  UNSUBSCRIBE,
  type Version,
} from "../protocol/packet.ts";
import { broken, RULES } from "../protocol/rules.ts";
import type { Call } from "./events.ts";
import type { Inbox } from "./inbox.ts";
import { filterUnsupported, versionUnsupported } from "./limits.ts";
import type { PacketIds } from "./packet_ids.ts";
import type { Asked, Group } from "./subscriptions.ts";

/** What a request takes besides its filters, in bytes, about. */
const OVERHEAD = 128;

/** A SUBSCRIBE: the packet asks for what is left of `filters`. */
export interface SubscribeRequest {
  readonly type: typeof SUBSCRIBE;
  readonly packetId: number;
  readonly group: Group;
  filters: readonly FilterRequest[];
  /** Who waits for it; undefined for one that is made again after a reconnect, and once it was given up. */
  call: Call | undefined;
  /** The iterator it is for. */
  readonly inbox: Inbox | undefined;
  /** Whether it makes subscriptions again that the broker has forgotten. */
  readonly renews: boolean;
  /** On how many connections it was sent that were lost. */
  lost: number;
  /** When it has failed; milliseconds. */
  due: number;
}

/** An UNSUBSCRIBE; `groups` are the packets that had asked for its filters. */
export interface UnsubscribeRequest {
  readonly type: typeof UNSUBSCRIBE;
  readonly packetId: number;
  readonly groups: readonly (Group | undefined)[];
  readonly filters: readonly string[];
  call: Call | undefined;
  /** Whether an iterator is left: to that, the end of the client is no failure. */
  readonly leaves: boolean;
  due: number;
}

/** Either. */
export type Request = SubscribeRequest | UnsubscribeRequest;

/** Those sent on this connection by packet identifier, and those that wait for the next one, both in the order of asking. */
export class Requests {
  /** Bytes that those with a caller may have, in all. */
  readonly #maxBytes: number;
  readonly #sent = new LazyMap<number, Request>();
  readonly #waiting = new LazyMap<number, SubscribeRequest>();
  /** Sent and given up: their answers may still come, so their packet identifiers are in use. */
  readonly #abandoned = new LazyMap<number, Request>();
  readonly #ids: PacketIds;
  #bytes = 0;

  constructor(maxBytes: number, ids: PacketIds) {
    this.#maxBytes = maxBytes;
    this.#ids = ids;
    for (const table of [this.#sent, this.#waiting, this.#abandoned]) ids.add(table);
  }

  /** Whether a call waits for an answer. */
  get isAwaited(): boolean {
    for (const { call } of this.#sent.values()) if (call !== undefined) return true;
    return false;
  }

  /** When the first has failed; Infinity when none is sent. */
  get due(): number {
    if (this.#sent.size === 0) return Infinity;
    const [first] = this.#sent.values();
    return first!.due;
  }

  /**
   * The next packet identifier that is not in use [MQTT-2.3.1-2].
   *
   * @throws {MqttError} `"overflow"`
   */
  freeId(): number {
    const packetId = this.#ids.next();
    if (packetId !== undefined) return packetId;
    throw new MqttError("overflow", "65,535 requests and messages wait for the broker's answer: await some of them");
  }

  /** Enters a request that is sent now, and has failed at `due`, which is no earlier than that of the others. */
  send(request: Request, due: number): void {
    request.due = due;
    this.#sent.set(request.packetId, request);
  }

  /**
   * Enters a request that is sent on the next connection.
   *
   * @throws {MqttError} `"overflow"`
   */
  wait(request: SubscribeRequest): void {
    const size = sizeOf(request);
    if (this.#bytes + size > this.#maxBytes) {
      throw new MqttError(
        "overflow",
        `${this.#bytes} bytes of requests wait for a connection, and ${size} more would exceed maxBuffered`,
      );
    }
    this.keep(request);
  }

  /** Enters one again that was sent on a connection that is lost. */
  keep(request: SubscribeRequest): void {
    this.#bytes += sizeOf(request);
    this.#waiting.set(request.packetId, request);
  }

  /** Those that wait for a connection. */
  get waiting(): SubscribeRequest[] {
    return [...this.#waiting.values()];
  }

  /** Takes those out. */
  clearWaiting(): void {
    this.#waiting.clear();
    this.#bytes = 0;
  }

  /**
   * A filter is given up while there is no connection: those that wait do not ask for it any more.
   * Returns the requests that have nothing left to ask for.
   */
  withdraw(filter: string): SubscribeRequest[] {
    const empty: SubscribeRequest[] = [];
    for (const request of this.#waiting.values()) {
      const filters = request.filters.filter(({ topic }) => topic !== filter);
      if (filters.length === request.filters.length) continue;
      this.#bytes -= sizeOf(request);
      request.filters = filters;
      this.#bytes += sizeOf(request);
      if (filters.length === 0) empty.push(request);
    }
    for (const request of empty) {
      this.#waiting.delete(request.packetId);
      this.#bytes -= sizeOf(request);
    }
    return empty;
  }

  /**
   * The request that a packet answers.
   *
   * @throws {MqttError} If it answers none, or not as it should: the broker's mistake.
   */
  answer(packet: SubackPacket | UnsubackPacket, version: Version): { request: Request; abandoned: boolean } {
    const name = NAMES[packet.type];
    const abandoned = this.#abandoned.get(packet.packetId);
    const request = this.#sent.get(packet.packetId) ?? abandoned;
    if (request === undefined || request.type + 1 !== packet.type) {
      const mistake = `a ${name} for packet identifier ${packet.packetId}, which asked for none`;
      throw broken(mistake, RULES.answersNothing, version);
    }
    if (packet.type === SUBACK && request.type === SUBSCRIBE) {
      const { codes } = packet, { filters } = request;
      if (codes.length !== filters.length) {
        throw broken(`a SUBACK with ${codes.length} codes for ${filters.length} filters`, RULES.answerCount, version);
      }
      if (codes.some((code, i) => code < 128 && code > filters[i]!.qos)) {
        throw broken("a SUBACK that grants more than was asked", RULES.answerQoS, version);
      }
    }
    this.#sent.delete(packet.packetId);
    this.#abandoned.delete(packet.packetId);
    return { request, abandoned: abandoned !== undefined };
  }

  /** The first request that was due by then. */
  expired(by: number): Request | undefined {
    const [first] = this.#sent.values();
    return first !== undefined && first.due <= by ? first : undefined;
  }

  /** Gives a request a new deadline, which is no earlier than those of the others. */
  postpone(request: Request, due: number): void {
    this.#sent.delete(request.packetId);
    this.send(request, due);
  }

  /** The request that somebody waits for. */
  of(call: Call): Request | undefined {
    return [...this.#sent.values(), ...this.#waiting.values()].find((request) => request.call === call);
  }

  /** Nobody waits for a request any more, and it is not asked again. */
  abandon(request: Request): void {
    request.call = undefined;
    if (this.#sent.delete(request.packetId)) this.#abandoned.set(request.packetId, request);
    else if (this.#waiting.delete(request.packetId)) this.#bytes -= sizeOf(request);
  }

  /** The connection is lost: those that were sent are returned, and their packet identifiers free. */
  lost(): Request[] {
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    this.#abandoned.clear();
    return sent;
  }
}

/** The bytes of a request's packet, for a broker that can do this. */
export function encodeRequest(
  request: Request,
  version: Version,
  limits: Pick<Limits, "subscriptionIds">,
): Uint8Array<ArrayBuffer> {
  const { type, packetId } = request;
  if (type === UNSUBSCRIBE) return encode({ type, packetId, filters: request.filters }, version);
  const { filters, group: { id, properties } } = request;
  const subscriptionIds = limits.subscriptionIds && id !== undefined ? [id] : undefined;
  return encode({ type, packetId, filters, properties: { ...properties, subscriptionIds } }, version);
}

/** Why a broker that can do this would not take a request; undefined if it does. */
export function requestUnsupported(request: Request, version: Version, limits: Limits): MqttError | undefined {
  if (request.type === SUBSCRIBE) {
    for (const { topic } of request.filters) {
      const error = filterUnsupported(limits, topic);
      if (error !== undefined) return error;
    }
  }
  const { length } = encodeRequest(request, version, limits);
  return length > limits.maxPacketSize ? tooLarge(length, limits.maxPacketSize) : undefined;
}

/** Why version 4 cannot ask for this; undefined if it can. Those that are asked for on the first connection have retain handling 1 without saying so. */
export function olderError({ filters, id, properties }: Asked): MqttError | undefined {
  const isPlain = id === undefined && properties === undefined &&
    filters.every(({ noLocal, retainAsPublished, retainHandling }) =>
      noLocal === undefined && retainAsPublished === undefined && (retainHandling ?? 1) === 1
    );
  if (isPlain) return undefined;
  return versionUnsupported("noLocal, retainAsPublished, retainHandling, id or properties of subscribe()");
}

function sizeOf({ filters }: Request): number {
  return filters.reduce((sum, filter) => sum + (typeof filter === "string" ? filter : filter.topic).length, OVERHEAD);
}
