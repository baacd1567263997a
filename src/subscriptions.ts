/** The client's subscriptions, and who gets their messages.
 * @module */

import type { OnPublish } from "./api.ts";
import { MqttError } from "./errors.ts";
import type { Message } from "./message.ts";
import type { QoS } from "./protocol/packet.ts";
import { TopicFilters, type TopicName } from "./protocol/topic.ts";
import type { MessageQueue } from "./queue.ts";

/** One topic filter; subscribed again, another takes its place. `asked`: by subscribe(), and not only by iterators. */
export interface Subscription {
  readonly topic: string;
  readonly qos: QoS;
  readonly onpub?: OnPublish | undefined;
  readonly queues: ReadonlySet<MessageQueue>;
  readonly asked: boolean;
}

const NONE: readonly Subscription[] = [];
const NO_QUEUES: ReadonlySet<MessageQueue> = new Set();

/** All subscriptions by filter, and the way of a message to those that want it themselves. */
export class Subscriptions {
  readonly #all = new Map<string, Subscription>();
  /** Those among them whose messages do not go to the client's onpub. */
  readonly #routes = new TopicFilters<Subscription>();
  readonly #tell: (topic: string, own: boolean) => void;

  /** `tell` hears whether the messages of a filter have a way of their own, whenever that may have changed. */
  constructor(tell: (topic: string, own: boolean) => void = () => {}) {
    this.#tell = tell;
  }

  /** Every subscription. */
  get all(): Subscription[] {
    return [...this.#all.values()];
  }

  /** The subscription of a filter. */
  get(topic: string): Subscription | undefined {
    return this.#all.get(topic);
  }

  /** Enters what subscribe() asked for, instead of what it asked before; iterators stay. */
  ask(topic: string, qos: QoS, onpub: OnPublish | undefined): Subscription {
    return this.#enter(topic, { qos, onpub, asked: true });
  }

  /** Enters an iterator. */
  join(topic: string, qos: QoS, queue: MessageQueue): Subscription {
    return this.#enter(topic, { qos, queues: new Set(this.get(topic)?.queues).add(queue) });
  }

  /** Takes an iterator out; whether nobody wants the filter any more. */
  leave(topic: string, queue: MessageQueue): boolean {
    const queues = new Set(this.get(topic)?.queues);
    if (!queues.delete(queue)) return false;
    return !this.#enter(topic, { queues }).asked && queues.size === 0;
  }

  #enter(topic: string, change: Partial<Subscription>): Subscription {
    const subscription = { topic, qos: 0 as QoS, queues: NO_QUEUES, asked: false, ...this.get(topic), ...change };
    this.#all.set(topic, subscription);
    const own = subscription.onpub !== undefined || subscription.queues.size > 0;
    if (own) this.#routes.set(topic, subscription);
    else this.#routes.delete(topic);
    this.#tell(topic, own);
    return subscription;
  }

  /** Takes a subscription out, unless another has come in its place; its iterators end. */
  remove(subscription: Subscription | undefined, error?: MqttError): void {
    if (subscription === undefined || this.get(subscription.topic) !== subscription) return;
    this.#all.delete(subscription.topic);
    this.#routes.delete(subscription.topic);
    this.#tell(subscription.topic, false);
    for (const queue of subscription.queues) queue.end(error);
  }

  /** Takes out what the broker refused, and says so; undefined when it refused none. */
  refuse(entered: readonly Subscription[], codes: readonly number[]): MqttError | undefined {
    const refused = entered.filter((_, i) => codes[i] === 128);
    const names = refused.map(({ topic }) => `"${topic}"`).join(", ");
    const error = new MqttError(128, `The broker refused the subscription to ${names} [MQTT-3.9.3-2]`);
    for (const subscription of refused) this.remove(subscription, error);
    return refused.length > 0 ? error : undefined;
  }

  /** Those that want the messages of a topic themselves. */
  match(topic: TopicName): readonly Subscription[] {
    return this.#routes.size === 0 ? NONE : this.#routes.match(topic);
  }

  /** Gives the message to those that want it themselves, and otherwise to `onpub`. */
  deliver(message: Message, topic: TopicName, onpub: OnPublish | undefined): void {
    const found = this.match(topic);
    if (found.length === 0) return call(onpub, message.topic, message);
    for (const subscription of found) {
      call(subscription.onpub, message.topic, message);
      for (const queue of subscription.queues) queue.push(message);
    }
  }
}

/** Calls the application: what it throws surfaces as an uncaught error, and stops nothing here. */
export function call<A extends unknown[]>(callback: ((...args: A) => void) | undefined, ...args: A): void {
  try {
    callback?.(...args);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
