/** What a session consists of, and who of it knows whom.
 * @module */

import { Output } from "../protocol/output.ts";
import { Attempts } from "./attempts.ts";
import { Authentication } from "./authentication.ts";
import { Backlog } from "./backlog.ts";
import { Claims } from "./claims.ts";
import { Ending } from "./ending.ts";
import { Events } from "./events.ts";
import { Flight } from "./flight.ts";
import { Flushes } from "./flushes.ts";
import { Journal } from "./journal.ts";
import { Ledger } from "./ledger.ts";
import { PacketIds } from "./packet_ids.ts";
import { Publisher } from "./publisher.ts";
import { Receiver } from "./receiver.ts";
import { SecondLook } from "./second_look.ts";
import type { SessionParts, SessionSettings } from "./settings.ts";
import { Stall } from "./stall.ts";
import { Subscriber } from "./subscriber.ts";
import { Versions } from "./versions.ts";

/** All that outlives a connection. */
export interface Parts {
  readonly events: Events;
  readonly ending: Ending;
  readonly output: Output;
  readonly journal: Journal;
  readonly ledger: Ledger;
  readonly receiver: Receiver;
  readonly backlog: Backlog;
  readonly stall: Stall;
  readonly claims: Claims;
  readonly flight: Flight;
  readonly flushes: Flushes;
  readonly publisher: Publisher;
  readonly subscriber: Subscriber;
  readonly authentication: Authentication;
  readonly versions: Versions;
  readonly attempts: Attempts;
  readonly secondLook: SecondLook;
}

/** Makes them. `now` is in milliseconds. */
export function makeParts(
  settings: SessionSettings,
  { durable, onpub, subscriptions }: SessionParts,
  now: number,
): Parts {
  const events: Events = new Events((error) => ending.rejected(error));
  const ending = new Ending(events);
  const output = new Output(settings.maxBuffered, settings.version);
  const restored = durable?.restored;
  const journal = new Journal(durable?.log, restored?.size ?? 0, settings.version);
  const receiver = new Receiver(settings, { output, events, journal }, restored?.recorded);
  const backlog = new Backlog(settings, events, receiver);
  const flushes = new Flushes(output, events, settings.timeout);
  const ids = new PacketIds();
  const flight = new Flight(settings, { output, events, journal, ids, onDone: flushes.done });
  const ledger = new Ledger(durable, { id: settings.id, journal, events, receiver, flight }, now);
  const subscriber = new Subscriber(settings, { onpub, subscriptions, output, events, backlog, ids });
  return {
    events,
    ending,
    output,
    journal,
    ledger,
    receiver,
    backlog,
    flight,
    flushes,
    subscriber,
    stall: new Stall(backlog, events, settings.timeout),
    claims: new Claims(backlog, subscriber.subscriptions),
    publisher: new Publisher(settings.version, { output, events, flight, ledger }),
    authentication: new Authentication(settings, { output, events }),
    versions: new Versions(settings),
    attempts: new Attempts(settings),
    secondLook: new SecondLook(),
  };
}
