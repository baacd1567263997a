/** Mistakes with what a process subscribes to in a session that the broker keeps, `subscriptions` of the options above all. */
import type { Mutant } from "../mutants.ts";

const subscriber = "src/session/subscriber.ts";
const subscriptions = "src/session/subscriptions.ts";

const HAS_ALL = "const hasAll = sessionPresent && !this.#isIncomplete;";
const PLANNED = "[settings.version === 5 ? { retainHandling: 1 as const, ...request } : request]";

const mistakes: readonly Mutant[] = [
  // ---- when they are asked for
  {
    mistake: "all is asked for on each connection",
    file: subscriber,
    find: HAS_ALL,
    replace: "const hasAll = sessionPresent && this.#settings === undefined;",
  },
  {
    mistake: "subscriptions of the options are not asked for when the session is present",
    file: subscriber,
    find: "      this.#isIncomplete = true; // a session that is present may be of a process that had others\n",
    replace: "",
  },
  {
    mistake: "subscriptions of the options are asked for on the first connection only, whatever becomes of the session",
    file: subscriber,
    find: HAS_ALL,
    replace: "const hasAll = !this.#isIncomplete;",
  },
  {
    mistake: "subscriptions that got no answer are not asked for again when the session is present",
    file: subscriber,
    find: "else if (request.renews) this.#isIncomplete = true;",
    replace: "else if (request.renews) continue;",
  },
  {
    mistake: "subscriptions are asked for after the messages that wait",
    file: subscriber,
    find: "this.#output.addFirst(concat(requests.map((request) => this.#encode(request))));",
    replace: "for (const request of requests) this.#output.addAnyway(this.#encode(request));",
  },

  // ---- what is not asked for
  {
    mistake: "a subscription that was given up is asked for again",
    file: subscriber,
    find: "      if ((codes[i] ?? 0) < 128) this.#forget(filter, groups[i]);\n",
    replace: "      if ((codes[i] ?? 0) < 128) this.#givenUp.delete(filter);\n",
  },
  {
    mistake: "a subscription of the options that subscribe() has replaced is asked for again",
    file: subscriptions,
    find:
      "        this.#drop(subscription.group);\n      }\n      group.current++;\n      Object.assign(subscription, { qos, group });",
    replace: "      }\n      group.current++;\n      Object.assign(subscription, { qos, group: subscription.group });",
  },
  {
    mistake: "a subscription of the options that is refused is asked for again",
    file: subscriber,
    find: "      this.#forget(topic, group, error);\n      if (!renews) return;",
    replace: "      if (!renews) return this.#forget(topic, group, error);",
  },
  {
    mistake: "what a process has given up before its first connection is not told to the broker",
    file: subscriber,
    find: "const givenUp = (sessionPresent ? ",
    replace: "const givenUp = (hasAll ? ",
  },

  // ---- as what
  {
    mistake: "what is retained comes again with each process",
    file: subscriber,
    find: PLANNED,
    replace: "[request]",
  },
  {
    mistake: "retain handling is 1, whatever the options say",
    file: subscriber,
    find: PLANNED,
    replace: "[settings.version === 5 ? { ...request, retainHandling: 1 as const } : request]",
  },
  {
    mistake: "the subscription identifier of the options is another one",
    file: subscriber,
    find: "this.#enter(this.#group({ filters, id, properties }), { onpub, concurrency });",
    replace: "this.#enter(this.#group({ filters, id: id && id + 1, properties }), { onpub, concurrency });",
  },

  // ---- who gets the messages
  {
    mistake: "messages of a subscription go to nobody until it is granted",
    file: subscriptions,
    find: "consumers: subscriptions.flatMap(({ consumer }) => consumer ?? []),",
    replace: "consumers: subscriptions.flatMap(({ consumer, granted }) => granted && consumer || []),",
  },
  {
    mistake: "what comes before SUBACK is unclaimed",
    file: "src/session/intake.ts",
    find: "recipients === NOBODY;",
    replace: "(recipients === NOBODY || this.#parts.subscriber.due < Infinity);",
  },
];

/** All of them, for the histories of a session in a store. */
export const subscribingMutants: readonly Mutant[] = mistakes.map((mutant) => ({ ...mutant, kind: "durable" }));
