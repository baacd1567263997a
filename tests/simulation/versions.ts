/**
 * The model of the version that a client speaks. With `"auto"` that is 5; an attempt that a broker refuses for its version, or
 * just closes, is made once more at once, with 3.1.1. What the first CONNACK has holds for good.
 */

/** What the options say. */
export type Wanted = 4 | 5 | "auto";

/** How an attempt has ended that the broker had not accepted. */
export interface Failed {
  /** That of its CONNECT; undefined where there was none. */
  readonly version: number | undefined;
  /** Whether the broker has said that it does not speak that, or has closed the connection without an answer. */
  readonly isTooNew: boolean;
}

/** Return code and reason code of a CONNACK that refuses the version. */
const REFUSALS = [1, 132];

/** Whether a CONNACK says that the broker does not speak the version. */
export function refusesVersion(code: number): boolean {
  return REFUSALS.includes(code);
}

export class VersionModel {
  readonly #fail: (what: string) => void;
  #isKnown: boolean;
  /** That of what is not sent yet, and that of the next CONNECT. */
  #assumed: number;
  #next: number;
  /** How often the other version was tried. */
  fallBacks = 0;

  constructor(wanted: Wanted, fail: (what: string) => void) {
    this.#fail = fail;
    this.#isKnown = wanted !== "auto";
    this.#assumed = this.#next = wanted === "auto" ? 5 : wanted;
  }

  /** An attempt begins, which is no fall back. */
  begins(): void {
    this.#next = this.#assumed;
  }

  /** CONNECT is sent. */
  connects(version: number): void {
    if (version !== this.#next) this.#fail(`CONNECT is of version ${version}, and not of ${this.#next}`);
  }

  /** The client has CONNACK. */
  accepted(version: number): void {
    this.#isKnown = true;
    this.#assumed = this.#next = version;
  }

  /** An attempt is over: whether it is made once more at once, with the other version. */
  failed({ version, isTooNew }: Failed): boolean {
    const fallsBack = !this.#isKnown && version === 5 && isTooNew;
    if (fallsBack) {
      this.#next = 4;
      this.fallBacks++;
    }
    return fallsBack;
  }
}
