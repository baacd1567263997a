/** Which version of the protocol a client speaks: what it is told to, or what its first broker has.
 * @module */

import type { MqttError } from "../errors.ts";
import type { Version } from "../protocol/packet.ts";
import type { Connection } from "./connection.ts";
import type { Journal } from "./journal.ts";
import { versionUnsupported } from "./limits.ts";
import type { Publisher } from "./publisher.ts";
import type { Receiver } from "./receiver.ts";
import type { SessionSettings } from "./settings.ts";
import type { Subscriber } from "./subscriber.ts";

/** Who speaks it. */
export interface Speakers {
  readonly journal: Journal;
  readonly receiver: Receiver;
  readonly publisher: Publisher;
  readonly subscriber: Subscriber;
}

/** What of the settings may need version 5. */
type VersionSettings = Pick<SessionSettings, "version" | "fallsBack" | "topicAliases" | "properties" | "will" | "auth">;

/**
 * Until the first CONNACK, everything is of the version of the settings, also while the other is tried: a broker that just
 * closes the connection may be one that starts, and the next attempt begins anew. What the first CONNACK has holds.
 */
export class Versions {
  readonly #settings: VersionSettings;
  /** The version of the client, and of the next attempt. */
  version: Version;
  tries: Version;

  constructor(settings: VersionSettings) {
    this.#settings = settings;
    this.version = this.tries = settings.version;
  }

  /** An attempt has failed: whether it is to be made once more at once, as the broker may have version 4 only. */
  fallsBack(connection: Connection | undefined, failure: MqttError, wasAccepted: boolean): boolean {
    const isTooNew = this.#settings.fallsBack && !wasAccepted && connection?.isTooNew(failure) === true;
    this.tries = isTooNew ? 4 : this.version;
    return isTooNew;
  }

  /** The broker has accepted a version; why the client cannot go on with that, if it cannot. */
  accepted(
    version: Version,
    { journal, receiver, publisher, subscriber }: Speakers,
    now: number,
  ): MqttError | undefined {
    if (version === this.version) return undefined;
    this.version = this.tries = version;
    const { topicAliases, properties, will, auth } = this.#settings;
    if (topicAliases > 0 || auth !== undefined || properties !== undefined || will?.properties !== undefined) {
      return versionUnsupported("topicAliases, auth, properties, or delay, expiry and properties of the will");
    }
    journal.speak(4);
    receiver.speak(4);
    publisher.downgrade();
    subscriber.downgrade(now);
    return undefined;
  }
}
