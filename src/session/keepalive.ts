/** When PINGREQ is due, and the verdict on one that was not answered (section 3.1.2.10).
 * @module */

import { MqttError } from "../errors.ts";

/** The longest wait for PINGRESP, and how long the socket is looked at before the verdict; milliseconds. */
const PING_WAIT = 10_000;
const GRACE = 100;
/** A PINGRESP may be behind what else comes: as long as this many bytes come in a grace, or until so many have. */
const STREAMING = 4096;
const BEHIND = 16_777_216;

/** Who only publishes need not ping, but a dead connection looks the same to it: after so many keep alives without a byte it asks. */
const SILENCE = 2;

/** The keep alive of one connection; who sends for it tells what happens. Times are in milliseconds. */
export class KeepAlive {
  /** PINGREQ goes out a little before the keep alive is over, so that it is never exceeded [MQTT-3.1.2-23]. */
  readonly #after: number;
  readonly #wait: number;
  #lastSent: number;
  /** When it was last looked whether anything comes, and the bytes received by then. */
  #lastLook: number;
  #receivedThen = 0;
  /** Writes until an unanswered PINGREQ has gone out: one that was in flight, and its own. */
  #behind = 0;
  /** When the verdict on a PINGREQ is due; Infinity when none is unanswered. */
  #verdict = Infinity;
  /** Bytes received in all, at the verdict's first ring, and at its last one. */
  #received = 0;
  #receivedFirst = -1;
  #receivedLast = 0;

  /** `keepalive` in seconds; 0 = off. */
  constructor(keepalive: number, now: number) {
    this.#after = keepalive === 0 ? Infinity : keepalive * 950;
    this.#wait = Math.min(keepalive * 1000, PING_WAIT);
    this.#lastSent = this.#lastLook = now;
  }

  /** Bytes have gone out: it starts anew. */
  sent(now: number): void {
    this.#lastSent = now;
    if (this.#verdict === Infinity || this.#behind === 0) return;
    this.#behind--;
    this.#verdict = now + this.#wait;
  }

  /** So many bytes have come. */
  received(length: number): void {
    this.#received += length;
  }

  /** PINGRESP has come. */
  answered(): void {
    this.#verdict = Infinity;
  }

  /** When `tick` wants to be called; Infinity when never. */
  get due(): number {
    return Math.min(this.#lastSent + this.#after, this.#lastLook + SILENCE * this.#after, this.#verdict);
  }

  /**
   * Whether PINGREQ is to be sent now: nothing was sent for the keep alive, or nothing came for two.
   * `writing`: a write is in flight, so PINGREQ is in the next one. `reading` is false while the application does not let us read: the answer may be there.
   *
   * The verdict's first ring only looks: a timer that rings late (a suspended machine, a blocked
   * thread) finds the answer unread in the socket, perhaps behind much else.
   *
   * @throws {MqttError} `"pingresp"`.
   */
  tick(now: number, reading: boolean, writing = false): boolean {
    if (now >= this.#verdict) this.#judge(now, reading);
    const silent = now >= this.#lastLook + SILENCE * this.#after && this.#look(now);
    if (now < this.#lastSent + this.#after && !silent) return false;
    this.#lastSent = now;
    if (this.#verdict === Infinity) {
      this.#verdict = now + this.#wait;
      this.#behind = writing ? 2 : 1;
      this.#receivedFirst = -1;
    }
    return true;
  }

  /** Whether nothing has come since the last look. */
  #look(now: number): boolean {
    const silent = this.#received === this.#receivedThen;
    this.#lastLook = now;
    this.#receivedThen = this.#received;
    return silent;
  }

  #judge(now: number, reading: boolean): void {
    if (!reading) {
      this.#verdict = now + this.#wait;
      this.#receivedFirst = -1;
      return;
    }
    if (this.#receivedFirst === -1) {
      this.#receivedFirst = this.#received;
    } else if (this.#received - this.#receivedLast < STREAMING || this.#received - this.#receivedFirst > BEHIND) {
      throw new MqttError("pingresp", `The broker did not answer PINGREQ within ${this.#wait} ms`);
    }
    this.#receivedLast = this.#received;
    this.#verdict = now + GRACE;
  }
}
