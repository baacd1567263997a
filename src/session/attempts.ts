/** Which address is tried, and what comes after a failure: another attempt, now or later, or the end.
 * @module */

import { type ErrorCode, MqttError, UnusableError } from "../errors.ts";
import { type ReconnectSettings, Retry } from "./retry.ts";
import type { CredentialsGiven } from "./trust.ts";

/** One address of the broker. */
export interface Place {
  /** For people to read; undefined where that is not known before the attempt. */
  readonly address: string | undefined;
  /** What CONNECT has of user name and password there. */
  readonly credentials: CredentialsGiven;
}

/** What it is made with. */
export interface AttemptsSettings {
  readonly id: string;
  /** The broker's addresses, one at least; they are tried in turn. */
  readonly places: readonly Place[];
  /** When a lost connection is made again; undefined: never. */
  readonly reconnect: ReconnectSettings | undefined;
  /** Whether the program is asked when the next attempt is, or if there is one. */
  readonly asksPolicy: boolean;
  /** Whether the first connection is made again, too. */
  readonly offline: boolean;
}

/** What comes after a failure: the end, a delay, or a question to the program; and the failure as it is told. */
export interface Verdict {
  readonly next: "end" | "wait" | "ask";
  readonly error: MqttError;
  /** Milliseconds until the next attempt. */
  readonly delay: number;
  /** How many attempts and connections have failed in a row. */
  readonly failures: number;
}

/**
 * Another attempt cannot mend these: the broker's return codes for version, identifier and credentials, and their like in MQTT 5,
 * with those for what CONNECT has of a will; and a server that is not trusted.
 */
const FINAL: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ...[1, 2, 4, 5, 129, 130, 132, 133, 134, 135, 138, 140, 144, 149, 153, 154, 155, 157] as const,
  ...["untrusted", "wrongname", "expired"] as const,
]);

/** The reason code of MQTT 5 for a session that another client has taken over. */
const TAKEN_OVER = 142;

/** After so many connections in a row that the broker accepted and soon closed, another client with the same id may be the reason. */
const MOST_SHORT = 3;

/** Counts the attempts of a client, and decides what follows each. */
export class Attempts {
  readonly #settings: AttemptsSettings;
  readonly #retry: Retry;
  /** Which of the places is tried now, or next. */
  #place = 0;
  /** Attempts since a connection was accepted. */
  #inRow = 0;
  /** Failures of a client that was never accepted, as long as it tries each address once. */
  readonly #first: string[] = [];
  /** Final refusals in a row. */
  #refusals = 0;
  /** Connections in a row that the broker accepted and soon closed. */
  #short = 0;
  /** Whether the last connection that the broker had accepted ended as another client took the session over. */
  #wasTakenOver = false;
  /** Whether a broker has ever accepted the client: then no failure is final, but one. */
  wasAccepted = false;

  constructor(settings: AttemptsSettings) {
    this.#settings = settings;
    this.#retry = new Retry(settings.reconnect, settings);
  }

  /** An attempt begins: at which place, and which one since a connection was accepted. */
  begin(): { place: number; address: string | undefined; credentials: CredentialsGiven; attempt: number } {
    return { place: this.#place, ...this.#current, attempt: ++this.#inRow };
  }

  /** The attempt is made once more, in another way: it counts as one. */
  repeat(): void {
    this.#inRow--;
  }

  get #current(): Place {
    return this.#settings.places[this.#place]!;
  }

  /** The broker has accepted. */
  accepted(): void {
    this.wasAccepted = true;
    this.#inRow = 0;
  }

  /**
   * The attempt, or its connection, has failed. `lasted`: for how many milliseconds the broker had accepted it; undefined
   * when it had not. `chance` is 0 to 1.
   */
  failed(error: MqttError, lasted: number | undefined, chance: number): Verdict {
    const { places, asksPolicy } = this.#settings;
    const delay = this.#retry.delay(lasted, chance), { failures } = this.#retry;
    const isOver = !this.wasAccepted && this.#isFinal(error);
    if (!this.wasAccepted) this.#first.push(`${this.#current.address ?? "addr()"}: ${error.message}`);
    this.#place = (this.#place + 1) % places.length;
    // The first connection has one try at each address.
    if (!this.wasAccepted && !this.#settings.offline) {
      if (this.#first.length < places.length) return { next: "wait", error, delay: 0, failures };
      return { next: "end", error: this.#summary(error), delay: 0, failures };
    }
    const told = this.#hint(error, lasted);
    if (delay === undefined || isOver || this.#isDuel(error, lasted)) {
      return { next: "end", error: told, delay: 0, failures };
    }
    return { next: asksPolicy ? "ask" : "wait", error: told, delay, failures };
  }

  /** Whether every address has refused in a row, in a way that another attempt cannot mend. */
  #isFinal(error: MqttError): boolean {
    const isRefusal = FINAL.has(error.code) || error instanceof UnusableError;
    this.#refusals = isRefusal ? this.#refusals + 1 : 0;
    return this.#refusals >= this.#settings.places.length;
  }

  /** Whether another client has taken the session over for the second time, soon after it was taken back: that would go on for ever. */
  #isDuel({ code }: MqttError, lasted: number | undefined): boolean {
    if (lasted === undefined) return false;
    const isAgain = this.#wasTakenOver && lasted < (this.#settings.reconnect?.stableAfter ?? 0);
    this.#wasTakenOver = code === TAKEN_OVER;
    return this.#wasTakenOver && isAgain;
  }

  /** The last failure, with those of the other addresses. */
  #summary(error: MqttError): MqttError {
    if (this.#first.length === 1) return error;
    const message = `None of ${this.#first.length} addresses: ${this.#first.join("; ")}`;
    return new MqttError(error.code, message, error.cause, error);
  }

  /** A broker closes the connection of a client when another one connects with its identifier [MQTT-3.1.4-2], and cannot say so. */
  #hint(error: MqttError, lasted: number | undefined): MqttError {
    const { id, reconnect } = this.#settings;
    const isShort = error.code === "socketclosed" && lasted !== undefined && lasted < (reconnect?.stableAfter ?? 0);
    this.#short = isShort ? this.#short + 1 : 0;
    if (this.#short < MOST_SHORT || id === "") return error;
    const message = `${error.message}, ${this.#short} times in a row soon after it was accepted: ` +
      `does another client use the same id, "${id}"? [MQTT-3.1.4-2]`;
    return new MqttError(error.code, message, error.cause);
  }
}
