/** The client's subscriptions: who gets their messages, and in which packets they were asked for.
 * @module */

import { LazyMap, LazySet } from "../lazy.ts";
import type { OnPublish } from "../options.ts";
import type { FilterRequest, Properties, QoS } from "../protocol/packet.ts";
import { routeOf, TopicFilters, type TopicName } from "../protocol/topic.ts";
import { Consumer } from "./consumer.ts";
import type { Inbox } from "./inbox.ts";

/** So many former identifiers of a filter are known: it may be asked for again and again. */
const MOST_FORMER = 16;

/** What is asked for in one SUBSCRIBE. */
export interface Asked {
  readonly filters: readonly FilterRequest[];
  /** The subscription identifier that the program wants, and what the packet says besides. */
  readonly id?: number | undefined;
  readonly properties?: Pick<Properties, "user"> | undefined;
}

/** What gets the messages of a subscription: a handler, and how many promises of it may be pending at once. */
export interface Handler {
  readonly onpub: OnPublish | undefined;
  readonly concurrency: number;
}

/** A subscription from the first connection on. */
export interface Planned extends FilterRequest, Handler, Omit<Asked, "filters"> {}

/** The filters of one SUBSCRIBE, which are asked for together again: brokers limit how many a packet may have. */
export interface Group extends Asked {
  /** The subscription identifier by which the client tells the copies of a message apart; undefined in version 4. */
  readonly id: number | undefined;
  /** Whether the program has chosen it. */
  readonly isChosen?: boolean | undefined;
  /** How many of them were not asked for in another packet since. */
  current: number;
}

/** What of it the program has asked for: identifiers that the client chooses say nothing to it. */
export function askedOf({ filters, id, isChosen, properties }: Group): Asked {
  return { filters, id: isChosen ? id : undefined, properties };
}

/** One topic filter. */
interface Subscription {
  readonly filter: string;
  qos: QoS;
  /** The handler that subscribe() gave. */
  consumer: Consumer | undefined;
  /** Whether subscribe() asked for it, and not only iterators. */
  bySubscribe: boolean;
  /** Replaced when it changes: who goes through it may change it. */
  inboxes: readonly Inbox[];
  /** The packet that asked for it last. */
  group: Group;
  /** The identifiers of packets that asked for it before: copies of messages may be under way that have them. */
  formerIds: readonly number[];
  /** Whether the broker has granted it once. */
  granted: boolean;
}

/** Those who get a message. */
export interface Recipients {
  readonly consumers: readonly Consumer[];
  readonly inboxes: readonly Inbox[];
  /** The subscriptions that they have, if these are several. */
  readonly several?: readonly Subscription[] | undefined;
}

/** Nobody: those of the messages that no subscription takes, when there is no handler for them. */
export const NOBODY: Recipients = { consumers: [], inboxes: [] };

/** All subscriptions by filter, and the way of a message to its recipients. */
export class Subscriptions {
  readonly #all = new LazyMap<string, Subscription>();
  readonly #groups = new LazySet<Group>();
  /** The subscriptions with recipients of their own, by the filter that their messages match. */
  readonly #routes = new TopicFilters<readonly Subscription[]>();
  /** Those of the messages that no subscription takes. */
  readonly #others: Recipients;
  /** One for each handler, whatever it is subscribed for: it gets its messages in order. */
  readonly #consumers = new WeakMap<OnPublish, Consumer>();

  /** `onpub` gets what no subscription takes. */
  constructor(onpub: OnPublish | undefined) {
    this.#others = onpub === undefined ? NOBODY : { consumers: [this.consumerOf(onpub)], inboxes: [] };
  }

  /** Every inbox. */
  get inboxes(): Inbox[] {
    return [...this.#all.values()].flatMap(({ inboxes }) => inboxes);
  }

  /** The consumer that calls a handler. */
  consumerOf(onpub: OnPublish): Consumer {
    const consumer = this.#consumers.get(onpub) ?? new Consumer(onpub);
    this.#consumers.set(onpub, consumer);
    return consumer;
  }

  /** Enters what subscribe() asks for, instead of what it asked before; iterators stay. */
  subscribe(group: Group, consumer: Consumer | undefined): void {
    this.#enter(group, (subscription) => Object.assign(subscription, { consumer, bySubscribe: true }));
  }

  /** Enters an iterator. */
  join(group: Group, inbox: Inbox): void {
    this.#enter(group, (subscription) => subscription.inboxes = [...subscription.inboxes, inbox]);
  }

  #enter(group: Group, change: (subscription: Subscription) => void): void {
    for (const { topic, qos } of group.filters) {
      let subscription = this.#all.get(topic);
      if (subscription?.group === group) continue; // the same filter twice in one packet
      if (subscription === undefined) {
        subscription = {
          filter: topic,
          qos,
          consumer: undefined,
          bySubscribe: false,
          inboxes: [],
          group,
          formerIds: [],
          granted: false,
        };
        this.#all.set(topic, subscription);
      } else {
        const { group: { id }, formerIds } = subscription;
        if (id !== undefined) subscription.formerIds = [...formerIds, id].slice(-MOST_FORMER);
        this.#drop(subscription.group);
      }
      group.current++;
      Object.assign(subscription, { qos, group });
      change(subscription);
      this.#route(subscription);
    }
    this.#groups.add(group);
  }

  #drop(group: Group): void {
    if (--group.current === 0) this.#groups.delete(group);
  }

  /** Takes an iterator out; whether nobody wants its filter any more. */
  leave(inbox: Inbox): boolean {
    const subscription = this.#all.get(inbox.filter);
    if (!subscription?.inboxes.includes(inbox)) return false;
    subscription.inboxes = subscription.inboxes.filter((other) => other !== inbox);
    this.#route(subscription);
    return !subscription.bySubscribe && subscription.inboxes.length === 0;
  }

  /** The packets that asked last for these filters, as far as they were asked for. */
  groupsOf(filters: readonly string[]): (Group | undefined)[] {
    return filters.map((filter) => this.#all.get(filter)?.group);
  }

  /** How a filter was asked for last, and what the packet said besides; undefined if it was not. */
  wantedOf(filter: string): { request: FilterRequest; group: Group } | undefined {
    const group = this.#all.get(filter)?.group;
    const request = group?.filters.find(({ topic }) => topic === filter);
    return group && request && { request, group };
  }

  /** The broker has granted a filter. */
  grant(filter: string): void {
    const subscription = this.#all.get(filter);
    if (subscription !== undefined) subscription.granted = true;
  }

  /** Whether the broker has granted a filter once. */
  isGranted(filter: string): boolean {
    return this.#all.get(filter)?.granted ?? false;
  }

  /** Takes a subscription out, unless another packet than `group` has asked for it since; returns the inboxes that end with it. */
  remove(filter: string, group: Group | undefined): readonly Inbox[] {
    const subscription = this.#all.get(filter);
    if (subscription === undefined || subscription.group !== group) return [];
    const { inboxes } = subscription;
    Object.assign(subscription, { consumer: undefined, inboxes: [] });
    this.#all.delete(filter);
    this.#drop(subscription.group);
    this.#route(subscription);
    return inboxes;
  }

  /** The packets in which everything is asked for again, but for those in `except`, in their order. */
  groupsBut(except: readonly Group[]): Group[] {
    const others = new Set(except);
    return [...this.#groups].filter((group) => !others.has(group));
  }

  /** The filters of a packet that were not given up, or asked for in another packet, since. */
  current(group: Group): FilterRequest[] {
    return group.filters.filter(({ topic }) => this.#all.get(topic)?.group === group);
  }

  /** Enters, or takes out, the way of messages to the recipients that a subscription has of its own. */
  #route(subscription: Subscription): void {
    const { filter, consumer, inboxes } = subscription;
    const route = routeOf(filter);
    const others = this.#routes.get(route)?.filter((other) => other !== subscription) ?? [];
    const all = consumer === undefined && inboxes.length === 0 ? others : [...others, subscription];
    if (all.length > 0) this.#routes.set(route, all);
    else this.#routes.delete(route);
  }

  /** Those who get the messages of a topic; `ids`: the identifiers of the subscriptions for which this copy comes. */
  recipients(topic: TopicName, ids: readonly number[] = NO_IDS): Recipients {
    if (this.#routes.size === 0) return this.#others;
    const all = this.#routes.match(topic, this.#combine);
    return ids.length === 0 || all.several === undefined ? all : chosen(all, all.several, ids);
  }

  readonly #combine = (found: (readonly Subscription[])[]): Recipients => {
    if (found.length === 0) return this.#others;
    const subscriptions = found.flat();
    const several = subscriptions.length > 1 ? subscriptions : undefined;
    return { ...recipientsOf(subscriptions), several };
  };
}

const NO_IDS: readonly number[] = [];

function recipientsOf(subscriptions: readonly Subscription[]): Recipients {
  return {
    consumers: subscriptions.flatMap(({ consumer }) => consumer ?? []),
    inboxes: subscriptions.flatMap(({ inboxes }) => inboxes),
  };
}

/**
 * Where several filters match, a broker sends one copy for each, or one for all of them [MQTT5-3.3.4-2]: a copy goes to the
 * subscriptions whose identifiers it has, and of those that were asked for in one packet, to one. A filter that was asked for
 * again has a new identifier, which the broker does not know until it has that packet: then the former one says it.
 * Identifiers that none has are of a process before this one.
 */
function chosen(all: Recipients, several: readonly Subscription[], ids: readonly number[]): Recipients {
  const found: Subscription[] = [];
  const find = (has: (subscription: Subscription) => boolean): boolean => {
    const subscription = several.find((each) => has(each) && !found.includes(each));
    if (subscription !== undefined) found.push(subscription);
    return subscription === undefined;
  };
  const others = ids.filter((id) => find(({ group }) => group.id === id));
  for (const id of others) find(({ formerIds }) => formerIds.includes(id));
  return found.length === 0 ? all : recipientsOf(found);
}
