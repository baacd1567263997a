/** Subscriptions as the broker is asked for them: SUBSCRIBE and UNSUBSCRIBE, their answers, and what a reconnect does to them.
 * @module */

import type { OnPublish } from "../options.ts";
import type { Limits } from "../options5.ts";
import { MqttError } from "../errors.ts";
import { LazySet } from "../lazy.ts";
import type { Output } from "../protocol/output.ts";
import {
  type QoS,
  SUBACK,
  type SubackPacket,
  SUBSCRIBE,
  type UnsubackPacket,
  UNSUBSCRIBE,
  type Version,
} from "../protocol/packet.ts";
import { concat } from "../protocol/wire.ts";
import type { Backlog } from "./backlog.ts";
import type { Call, Events } from "./events.ts";
import type { Inbox } from "./inbox.ts";
import { filterUnsupported, subscriptionIdUnsupported } from "./limits.ts";
import type { PacketIds } from "./packet_ids.ts";
import { reasonError } from "./reasons.ts";
import {
  encodeRequest,
  olderError,
  type Request,
  Requests,
  requestUnsupported,
  type SubscribeRequest,
  type UnsubscribeRequest,
} from "./requests.ts";
import { type Asked, askedOf, type Group, type Handler, type Planned, Subscriptions } from "./subscriptions.ts";

/** Identifiers that the client chooses begin here: those that programs choose are smaller. */
const FIRST_ID = 1024;

/** On so many connections a request is sent, then it fails. */
const MOST_LOST = 2;
/** So many packets are asked for again at once, and others as they are answered: there are 65,535 packet identifiers. */
const RENEWED_AT_ONCE = 32_768;

/** What it is made with. */
export interface SubscriberSettings {
  readonly version: Version;
  readonly cleanSession: boolean;
  /** Bytes of requests that may wait for a connection. */
  readonly maxBuffered: number;
  /** Milliseconds in which a request must be answered. */
  readonly timeout: number;
}

/** What it works with. */
export interface SubscriberParts {
  /** Gets the messages that no subscription takes. */
  readonly onpub?: OnPublish | undefined;
  /** What is asked for on the first connection, each in a packet of its own. */
  readonly subscriptions?: readonly Planned[] | undefined;
  readonly output: Output;
  readonly events: Events;
  readonly backlog: Backlog;
  readonly ids: PacketIds;
}

/** Asks the broker for what the program subscribes to, again after a reconnect. Times are in milliseconds. */
export class Subscriber {
  #settings: SubscriberSettings;
  readonly #output: Output;
  readonly #events: Events;
  readonly #backlog: Backlog;
  /** All of them, and the way of messages to those who want them. */
  readonly subscriptions: Subscriptions;
  readonly #requests: Requests;
  /** Filters that were given up while a broker that keeps the session was away. */
  readonly #givenUp = new LazySet<string>();
  /** Whether the broker's session may lack subscriptions: not all of them were asked for on a connection, and answered. */
  #isIncomplete = false;
  /** The packets that are still to be asked for again on this connection, the last first. */
  #toRenew: Group[] = [];
  /** The next identifier that the client chooses. */
  #nextId = FIRST_ID;
  /** What the broker can do that can be asked now; undefined when none can. */
  #limits: Limits | undefined;

  constructor(
    settings: SubscriberSettings,
    { onpub, subscriptions = [], output, events, backlog, ids }: SubscriberParts,
  ) {
    this.#settings = settings;
    this.#output = output;
    this.#events = events;
    this.#backlog = backlog;
    this.subscriptions = new Subscriptions(onpub);
    this.#requests = new Requests(settings.maxBuffered, ids);
    for (const { onpub, concurrency, id, properties, ...request } of subscriptions) {
      // A subscription that is there already has had what was retained.
      const filters = [settings.version === 5 ? { retainHandling: 1 as const, ...request } : request];
      this.#enter(this.#group({ filters, id, properties }), { onpub, concurrency });
      this.#isIncomplete = true; // a session that is present may be of a process that had others
    }
  }

  /** Whether a call waits for an answer. */
  get isAwaited(): boolean {
    return this.#requests.isAwaited;
  }

  /** When the first request has failed; Infinity when none waits for its answer. */
  get due(): number {
    return this.#requests.due;
  }

  /**
   * What is asked for in one packet, with its identifier.
   *
   * @throws {MqttError} `"unsupported"`
   */
  #group({ filters, id, properties }: Asked): Group {
    if (this.#settings.version === 5) {
      return { filters, id: id ?? this.#nextId++, isChosen: id !== undefined, properties, current: 0 };
    }
    const error = olderError({ filters, id, properties });
    if (error !== undefined) throw error;
    return { filters, id: undefined, current: 0 };
  }

  /**
   * Asks for filters; the call gets the granted QoS, the lowest of several.
   *
   * @throws {MqttError} `"overflow"`, `"unsupported"`; nothing is asked for then.
   */
  subscribe(asked: Asked, handler: Handler, call: Call, now: number): void {
    const group = this.#group(asked);
    if (asked.id !== undefined && this.#limits?.subscriptionIds === false) throw subscriptionIdUnsupported(asked.id);
    this.#ask({ group, call, inbox: undefined }, now);
    this.#enter(group, handler);
  }

  /** The version is 4, and not 5: subscriptions that version 4 cannot ask for are refused. */
  downgrade(now: number): void {
    this.#settings = { ...this.#settings, version: 4 };
    for (const request of this.#requests.waiting) {
      const error = olderError(askedOf(request.group));
      if (error !== undefined) this.#failed(request, error, now);
    }
    for (const group of this.subscriptions.groupsBut([])) {
      const error = olderError(askedOf(group));
      if (error !== undefined) {
        this.subscriptions.current(group).forEach(({ topic }) => this.#refuse(topic, group, error));
      }
    }
  }

  /** Enters the filters of a group, and who gets their messages. */
  #enter(group: Group, { onpub, concurrency }: Handler): void {
    const consumer = onpub && this.subscriptions.consumerOf(onpub);
    if (consumer !== undefined) this.#backlog.widen(consumer, concurrency);
    this.subscriptions.subscribe(group, consumer);
  }

  /**
   * Asks for a filter whose messages go to the inbox, which hears of a failure, too.
   *
   * @throws {MqttError} `"overflow"`; nothing is asked for then.
   */
  iterate(inbox: Inbox, asked: Asked, now: number): void {
    // The QoS that the filter has for others is not lowered, and the rest is as it is for them.
    const [given] = asked.filters, before = this.subscriptions.wantedOf(inbox.filter);
    const qos = Math.max(given!.qos, before?.request.qos ?? 0) as QoS;
    const { id, properties } = before === undefined ? asked : { ...before.group, id: undefined };
    const group = this.#group({ filters: [{ ...given!, ...before?.request, qos }], id, properties });
    this.#ask({ group, call: undefined, inbox }, now);
    // Before the answer: the broker may send messages first (section 3.8.4).
    this.subscriptions.join(group, inbox);
  }

  #ask(asked: Pick<SubscribeRequest, "group" | "call" | "inbox">, now: number): void {
    const request = this.#subscribeRequest(asked);
    if (this.#limits !== undefined) this.#send(request, now);
    else this.#requests.wait(request);
  }

  #subscribeRequest(asked: Pick<SubscribeRequest, "group" | "call" | "inbox">): SubscribeRequest {
    const { filters } = asked.group;
    return { type: SUBSCRIBE, packetId: this.#requests.freeId(), filters, renews: false, lost: 0, due: 0, ...asked };
  }

  #encode(request: Request): Uint8Array<ArrayBuffer> {
    return encodeRequest(request, this.#settings.version, this.#limits!);
  }

  /** Why the broker of this connection would not take a request; undefined if it does. */
  #unsupported(request: Request): MqttError | undefined {
    return requestUnsupported(request, this.#settings.version, this.#limits!);
  }

  /** Sends a request on this connection; it is refused before its packet identifier is in use. */
  #send(request: Request, now: number): void {
    const error = this.#unsupported(request);
    if (error !== undefined) throw error;
    this.#output.add(this.#encode(request));
    this.#requests.send(request, now + this.#settings.timeout);
  }

  /**
   * Gives up filters: done when the broker has confirmed; at once when there is no connection.
   * `leaves`: an iterator is left; to that, the end of the client is no failure.
   *
   * @throws {MqttError} `"overflow"`
   */
  unsubscribe(filters: readonly string[], { call, leaves }: { call: Call; leaves: boolean }, now: number): void {
    if (this.#limits !== undefined) this.#send({ ...this.#unsubscribeRequest(filters), call, leaves }, now);
    else this.#giveUpAway(filters, this.subscriptions.groupsOf(filters), call);
  }

  #unsubscribeRequest(filters: readonly string[]): UnsubscribeRequest {
    const groups = this.subscriptions.groupsOf(filters);
    const packetId = this.#requests.freeId();
    return { type: UNSUBSCRIBE, packetId, filters, groups, call: undefined, leaves: false, due: 0 };
  }

  /** Gives up filters while there is no connection. A broker that keeps the session is told on the next one. */
  #giveUpAway(filters: readonly string[], groups: readonly (Group | undefined)[], call: Call | undefined): void {
    filters.forEach((filter, i) => {
      const wasAskedSince = this.subscriptions.groupsOf([filter])[0] !== groups[i];
      for (const { call, group } of wasAskedSince ? [] : this.#requests.withdraw(filter)) {
        this.#events.settle(call, { code: group.filters[0]!.qos });
      }
      this.#forget(filter, groups[i]);
      // Unless it was asked for again, and granted, since.
      if (!this.#settings.cleanSession && !this.subscriptions.isGranted(filter)) this.#givenUp.add(filter);
    });
    this.#events.settle(call);
  }

  /** Takes a subscription out, unless another packet than `group` has asked for its filter since; its iterators end. */
  #forget(filter: string, group: Group | undefined, error?: MqttError): void {
    for (const inbox of this.subscriptions.remove(filter, group)) this.#backlog.end(inbox, error);
  }

  /**
   * Goes on after CONNACK where the last connection ended. First come the subscriptions that the broker has
   * forgotten, in the packets in which they were asked for, or, if it has not, the filters given up meanwhile;
   * then the requests that were not answered. All of them go before what the output has.
   */
  connected({ sessionPresent, limits }: { sessionPresent: boolean; limits: Limits }, now: number): void {
    this.#limits = limits;
    for (const request of this.#requests.waiting) {
      const error = this.#unsupported(request);
      if (error !== undefined) this.#failed(request, error, now);
    }
    const unanswered = this.#requests.waiting;
    const hasAll = sessionPresent && !this.#isIncomplete;
    const groups = hasAll ? [] : this.subscriptions.groupsBut(unanswered.map(({ group }) => group));
    this.#isIncomplete = false;
    this.#toRenew = groups.reverse();
    const renewals = this.#takeRenewals(RENEWED_AT_ONCE);
    // Their subscriptions are gone already: who has asked for such a filter since keeps it.
    const givenUp = (sessionPresent ? [...this.#givenUp].slice(0, RENEWED_AT_ONCE) : [])
      .map((filter) => ({ ...this.#unsubscribeRequest([filter]), groups: [] }));
    if (!sessionPresent) this.#givenUp.clear();
    for (const { filters: [filter] } of givenUp) this.#givenUp.delete(filter!);
    this.#requests.clearWaiting();
    this.#sendFirst([...renewals, ...givenUp, ...unanswered], now);
  }

  /** Sends requests before all that waits in the output. */
  #sendFirst(requests: readonly Request[], now: number): void {
    if (requests.length === 0) return;
    for (const request of requests) this.#requests.send(request, now + this.#settings.timeout);
    this.#output.addFirst(concat(requests.map((request) => this.#encode(request))));
  }

  /** Sends a request that no call asks for: nobody could be told that there is no room. */
  #sendUnasked(request: Request, now: number): void {
    this.#output.addAnyway(this.#encode(request));
    this.#requests.send(request, now + this.#settings.timeout);
  }

  /** The next requests that ask again for what the broker has forgotten. */
  #takeRenewals(most: number): SubscribeRequest[] {
    const renewals: SubscribeRequest[] = [];
    while (renewals.length < most) {
      const group = this.#toRenew.pop();
      if (group === undefined) break;
      const filters = this.subscriptions.current(group).filter(({ topic }) => {
        const error = filterUnsupported(this.#limits!, topic);
        if (error !== undefined) this.#refuse(topic, group, error);
        return error === undefined;
      });
      if (filters.length === 0) continue; // given up, or asked for in another packet since
      const asked = { group, call: undefined, inbox: undefined };
      const renewal = { ...this.#subscribeRequest(asked), filters, renews: true };
      const error = this.#unsupported(renewal);
      if (error === undefined) renewals.push(renewal);
      else for (const { topic } of filters) this.#refuse(topic, group, error);
    }
    return renewals;
  }

  /**
   * SUBACK or UNSUBACK. A refused filter is forgotten, and its iterators end; of one that was asked for
   * again after a reconnect, the status tells.
   *
   * @throws {MqttError} The broker's mistake.
   */
  answered(packet: SubackPacket | UnsubackPacket, now: number): void {
    const { request, abandoned } = this.#requests.answer(packet, this.#settings.version);
    if (request.type === UNSUBSCRIBE) return this.#givenUpAnswered(request, packet);
    if (abandoned || packet.type !== SUBACK) return; // its caller was told that it failed
    const { codes } = packet, { filters, group, renews, call } = request;
    const refused = filters.flatMap(({ topic }, i) => codes[i]! < 128 ? [] : [topic]);
    const code = codes.find((code) => code >= 128) ?? 0;
    filters.forEach(({ topic }, i) => {
      if (codes[i]! >= 128) return;
      this.subscriptions.grant(topic);
      this.#givenUp.delete(topic);
    });
    const error = refused.length === 0 ? undefined : this.#refused(refused, code, packet);
    filters.forEach(({ topic }, i) => {
      if (codes[i]! < 128) return;
      this.#forget(topic, group, error);
      if (!renews) return;
      this.#events.tell({ type: "refused", filter: topic, error: this.#refused([topic], codes[i]!, packet) });
    });
    this.#events.settle(call, { code: codes.reduce((lowest, code) => Math.min(lowest, code)), error });
    for (const next of renews ? this.#takeRenewals(1) : []) this.#sendUnasked(next, now);
  }

  /** UNSUBACK: what the broker does not give up stays [MQTT5-3.11.3-2]. */
  #givenUpAnswered(
    { filters, groups, call }: UnsubscribeRequest,
    { codes = [], properties }: UnsubackPacket | SubackPacket,
  ) {
    filters.forEach((filter, i) => {
      if ((codes[i] ?? 0) < 128) this.#forget(filter, groups[i]);
    });
    const at = codes.findIndex((code) => code >= 128);
    const what = `did not give up the subscription to "${filters[at]}"`;
    const error = at < 0 ? undefined : reasonError(codes[at]!, { what, properties, statement: "[MQTT5-3.11.3-2]" });
    this.#events.settle(call, { error });
  }

  /** A filter is not to be had any more; the status tells that, as no call waits for it. */
  #refuse(filter: string, group: Group, error: MqttError): void {
    this.#forget(filter, group, error);
    this.#events.tell({ type: "refused", filter, error });
  }

  /** The error of filters that are refused; the code is that of the first. */
  #refused(filters: readonly string[], code: number, { properties }: SubackPacket): MqttError {
    const what = `refused the subscription to ${filters.map((filter) => `"${filter}"`).join(", ")}`;
    if (this.#settings.version === 5) return reasonError(code, { what, properties, statement: "[MQTT5-3.9.3-2]" });
    return new MqttError(128, `The broker ${what} [MQTT-3.9.3-2]`);
  }

  /**
   * Gives up the requests that were due by then, with `error`. `reading` is false while the answer may be behind messages
   * that nobody takes: then requests that no call waits for have more time.
   * Returns the error when subscriptions that were made again were not answered: the connection is of no use.
   */
  expire(
    by: number,
    { reading, error, now }: { reading: boolean; error: MqttError; now: number },
  ): MqttError | undefined {
    for (let request = this.#requests.expired(by); request !== undefined; request = this.#requests.expired(by)) {
      if (request.call === undefined && !reading) this.#requests.postpone(request, now + this.#settings.timeout);
      else if (request.type === SUBSCRIBE && request.renews) return error;
      else this.#failed(request, error, now);
    }
    return undefined;
  }

  /** Gives up what a call waits for. */
  giveUp(call: Call, error: MqttError, now: number): void {
    const request = this.#requests.of(call);
    if (request !== undefined) this.#failed(request, error, now);
  }

  /** A request has failed: nobody waits for it any more, and what it asked for is not asked for again. */
  #failed(request: Request, error: MqttError, now: number): void {
    const { call } = request;
    this.#requests.abandon(request);
    if (request.type === UNSUBSCRIBE) {
      request.filters.forEach((filter, i) => {
        this.#forget(filter, request.groups[i]);
        const [group] = this.subscriptions.groupsOf([filter]);
        // The next connection tells it, unless somebody has asked for it since.
        if (!this.#settings.cleanSession && group === undefined) this.#givenUp.add(filter);
      });
    } else {
      const { group, inbox, filters } = request;
      for (const { topic } of filters) {
        // What was granted before stays.
        if (!this.subscriptions.isGranted(topic)) this.#forget(topic, group, error);
      }
      if (inbox !== undefined) this.#failInbox(inbox, error, now);
    }
    this.#events.settle(call, { error });
  }

  /** An iterator's request has failed. The broker may subscribe all the same, when it answers late: nobody wants that any more. */
  #failInbox(inbox: Inbox, error: MqttError, now: number): void {
    const filters = [inbox.filter];
    const groups = this.subscriptions.groupsOf(filters);
    const alone = groups[0] === undefined || this.subscriptions.leave(inbox);
    this.#backlog.end(inbox, error);
    if (!alone) return;
    if (this.#limits === undefined) return this.#giveUpAway(filters, groups, undefined);
    this.#sendUnasked(this.#unsubscribeRequest(filters), now);
  }

  /** The connection is lost: a SUBSCRIBE without an answer is asked once more, an UNSUBSCRIBE needs no answer any more. */
  lost(error: MqttError, now: number): void {
    this.#limits = undefined;
    this.#isIncomplete ||= this.#toRenew.length > 0;
    for (const request of this.#requests.lost()) {
      if (request.type === UNSUBSCRIBE) this.#giveUpAway(request.filters, request.groups, request.call);
      else if (request.renews) this.#isIncomplete = true; // it is made again from the subscriptions
      else if (request.inbox?.ended) continue; // it was postponed, and given up since
      else if (++request.lost === MOST_LOST) this.#failed(request, error, now);
      else this.#requests.keep(request);
    }
  }

  /** The client has ended: everything settles. Whether somebody iterates, and so hears of it when the messages before it are taken. */
  close(reason: MqttError): boolean {
    this.#limits = undefined;
    for (const request of [...this.#requests.lost(), ...this.#requests.waiting]) {
      // Who leaves an iterator has got what he wanted: nothing comes any more.
      const isDone = request.type === UNSUBSCRIBE && request.leaves;
      this.#events.settle(request.call, { error: isDone ? undefined : reason });
    }
    this.#requests.clearWaiting();
    const { inboxes } = this.subscriptions;
    for (const inbox of inboxes) this.#backlog.end(inbox, reason);
    return inboxes.some(({ iterated }) => iterated);
  }
}
