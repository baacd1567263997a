/** When PINGREQ is due, and when one that is not answered means that the connection is dead (section 3.1.2.10).
 * @module */

import { MqttError } from "../errors.ts";

/** The longest wait for PINGRESP; milliseconds. */
const PING_WAIT = 10_000;
/** When that is over, the socket is read for so many milliseconds more. */
const GRACE = 100;
/** While at least so many bytes come in each GRACE, PINGRESP may be behind them: the wait goes on. */
const STREAMING = 4096;
/** When so many bytes have come after the wait, PINGRESP is not behind them. */
const BEHIND = 16_777_216;

/** A client that keeps sending need not ping, but would not notice a dead connection: after so many keep alives without a byte received it sends PINGREQ. */
const SILENCE = 2;

/** The keep alive of one connection; who sends for it tells what happens. Times are in milliseconds. */
export class KeepAlive {
  /** PINGREQ goes out a little before the keep alive is over, so that it is never exceeded [MQTT-3.1.2-23]. */
  #after = Infinity;
  #wait = 0;
  #lastSent: number;
  /** When it was last checked whether anything comes. */
  #lastLook: number;
  /** Bytes received by then. */
  #receivedThen = 0;
  /** Writes until an unanswered PINGREQ has gone out: one that was in flight, and its own. */
  #behind = 0;
  /** When PINGRESP must have come; Infinity when no PINGREQ is unanswered. */
  #answerDue = Infinity;
  /** Bytes received in all. */
  #received = 0;
  /** Bytes received when the wait was over; -1 until then. */
  #receivedFirst = -1;
  /** Bytes received at the last check after that. */
  #receivedLast = 0;

  /** `keepalive` in seconds; 0 = off. */
  constructor(keepalive: number, now: number) {
    this.change(keepalive);
    this.#lastSent = this.#lastLook = now;
  }

  /** The server wants another one [MQTT5-3.2.2-21]; seconds, 0 = off. */
  change(keepalive: number): void {
    this.#after = keepalive === 0 ? Infinity : keepalive * 950;
    this.#wait = Math.min(keepalive * 1000, PING_WAIT);
  }

  /** Bytes have gone out: it starts anew. */
  sent(now: number): void {
    this.#lastSent = now;
    if (this.#answerDue === Infinity || this.#behind === 0) return;
    this.#behind--;
    this.#answerDue = now + this.#wait;
  }

  /** So many bytes have come. */
  received(length: number): void {
    this.#received += length;
  }

  /** PINGRESP has come. */
  answered(): void {
    this.#answerDue = Infinity;
  }

  /** Makes PINGREQ due now, unless it is off. */
  probe(): void {
    if (this.#after < Infinity) this.#lastSent = -Infinity;
  }

  /** When `tick` wants to be called; Infinity when never. */
  get due(): number {
    return Math.min(this.#lastSent + this.#after, this.#lastLook + SILENCE * this.#after, this.#answerDue);
  }

  /**
   * Whether PINGREQ is to be sent now: nothing was sent for the keep alive, or nothing came for two.
   * `writing`: a write is in flight, so PINGREQ is in the next one. `reading` is false while the application does not let us read: the answer may be there.
   *
   * When the wait for PINGRESP is over, the connection is not given up at once: the timer may be late (a suspended
   * machine, a blocked thread), and PINGRESP be in the socket, behind other packets perhaps. So the socket is read on
   * while more comes. It is given up when a GRACE brings next to nothing, or too much has come without PINGRESP.
   *
   * @throws {MqttError} `"pingresp"`.
   */
  tick(now: number, reading: boolean, writing = false): boolean {
    if (now >= this.#answerDue) this.#checkAnswer(now, reading);
    const silent = now >= this.#lastLook + SILENCE * this.#after && this.#look(now);
    if (now < this.#lastSent + this.#after && !silent) return false;
    this.#lastSent = now;
    if (this.#answerDue === Infinity) {
      this.#answerDue = now + this.#wait;
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

  /** The wait for PINGRESP is over: goes on waiting, or gives up. */
  #checkAnswer(now: number, reading: boolean): void {
    if (!reading) {
      this.#answerDue = now + this.#wait;
      this.#receivedFirst = -1;
      return;
    }
    if (this.#receivedFirst === -1) {
      this.#receivedFirst = this.#received;
    } else if (this.#received - this.#receivedLast < STREAMING || this.#received - this.#receivedFirst > BEHIND) {
      throw new MqttError("pingresp", `The broker did not answer PINGREQ within ${this.#wait} ms`);
    }
    this.#receivedLast = this.#received;
    this.#answerDue = now + GRACE;
  }
}
