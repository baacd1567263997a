/** The iterators of a client whose session lives in a thread: so many messages cross ahead of what they have taken.
 * @module */

import type { MessagesOptions } from "../options.ts";
import type { MqttError } from "../errors.ts";
import type { Message } from "../message.ts";
import type { Delivery } from "../session/consumer.ts";
import type { Call } from "../session/events.ts";
import { Inbox } from "../session/inbox.ts";
import { checkMessages } from "./arguments.ts";
import { MessageIterator } from "./message_iterator.ts";
import type { ToHost } from "./module_messages.ts";
import type { Outbox } from "./outbox.ts";

/** At most so many messages of an iterator cross before they are asked for. */
const MOST_AHEAD = 500;

/** An iterator of the caller. */
interface Iteration {
  readonly number: number;
  readonly inbox: Inbox;
  /** How many messages cross before they are asked for. */
  readonly ahead: number;
  /** Messages that the caller is done with, which the thread has not been told. */
  taken: number;
  /** Whether the caller has one that it is not done with. */
  hasOne: boolean;
}

/** What they work with. */
export interface IterationsParts {
  readonly outbox: Outbox<ToHost>;
  /** Why no call can be made any more. */
  readonly reason: () => MqttError | undefined;
  /** A call that the thread answers, and its promise. */
  readonly ask: (make: (call: Call) => void) => Promise<void>;
  /** A number for a call. */
  readonly number: (call: Call) => number;
  /** Somebody hears why the client ends. */
  readonly listen: () => void;
}

/** Opens iterators, and gives them what crosses. */
export class Iterations {
  readonly #parts: IterationsParts;
  readonly #open = new Map<number, Iteration>();
  #numbers = 0;

  constructor(parts: IterationsParts) {
    this.#parts = parts;
  }

  /**
   * A new one.
   *
   * @throws {TypeError | RangeError} If an argument is wrong.
   */
  iterate(topic: string, options: MessagesOptions): MessageIterator {
    const { limit, ...asked } = checkMessages(topic, options), { qos } = asked.filters[0]!;
    const { outbox, reason, ask, number: numberOf, listen } = this.#parts;
    // What is acknowledged when it was handled does not cross before it is asked for.
    const ahead = qos > 0 ? 1 : Math.min(Math.max(limit >> 1, 1), MOST_AHEAD);
    const number = ++this.#numbers;
    let iteration: Iteration;
    return new MessageIterator((wake) => new Inbox(topic, limit + ahead, wake), {
      open: (inbox) => {
        iteration = { number, inbox, ahead, taken: 0, hasOne: false };
        const error = reason();
        if (error !== undefined) return endInbox(inbox, error);
        this.#open.set(number, iteration);
        outbox.add({ type: "iterate", inbox: number, asked, limit, ahead });
      },
      take: () => this.#take(iteration),
      wait: (inbox, waiting) => void (inbox.waiting = waiting),
      leave: (inbox) => {
        inbox.error = undefined;
        while (inbox.shift() !== undefined);
        const isOpen = this.#open.delete(number) && reason() === undefined;
        endInbox(inbox, undefined);
        if (!isOpen) return Promise.resolve();
        return ask((call) => outbox.add({ type: "leave", call: numberOf(call), inbox: number }));
      },
      heard: (error) => {
        if (error === reason()) listen();
      },
    });
  }

  /** The next message of an iterator; the one before it is done with. */
  #take(iteration: Iteration): Message | undefined {
    if (iteration.hasOne) iteration.taken++;
    const delivery = iteration.inbox.shift(), message = delivery?.message;
    iteration.hasOne = delivery !== undefined;
    if (delivery !== undefined) delivery.pending = 0;
    const isDue = message === undefined || 2 * iteration.taken >= iteration.ahead;
    if (iteration.taken > 0 && isDue && this.#open.has(iteration.number)) {
      this.#parts.outbox.add({ type: "taken", inbox: iteration.number, count: iteration.taken });
      iteration.taken = 0;
    }
    return message;
  }

  /** A message has crossed; undefined when its iterator is gone. */
  deliver(number: number, message: Message): Delivery | undefined {
    const inbox = this.#open.get(number)?.inbox;
    if (inbox === undefined) return undefined;
    const delivery: Delivery = { message, packetId: 0, pending: 1, begun: true, failed: false, receipt: "none" };
    inbox.push(delivery);
    if (inbox.waiting) inbox.wake();
    return delivery;
  }

  /** No more messages come for one. */
  end(number: number, error: MqttError | undefined): void {
    const iteration = this.#open.get(number);
    this.#open.delete(number);
    if (iteration !== undefined) endInbox(iteration.inbox, error);
  }

  /** No more messages come for any. */
  endAll(error: MqttError): void {
    for (const number of [...this.#open.keys()]) this.end(number, error);
  }

  /** Whether somebody iterates, and will hear why the client has ended. */
  get isHeard(): boolean {
    return [...this.#open.values()].some(({ inbox }) => inbox.iterated);
  }
}

/** The end that disconnect() made is no error to an iterator. */
function endInbox(inbox: Inbox, error: MqttError | undefined): void {
  inbox.end(error?.code === "disconnect" ? undefined : error);
  if (inbox.waiting) inbox.wake();
}
