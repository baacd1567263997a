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

/** PINGREQ is behind what was written before: a slow line carries so many bytes of that in a millisecond, and PINGRESP may come so much later. */
const SLOWEST = 65.536;
/** For so many milliseconds at most: the buffers of the system, and of what is on the way, hold about 4 MiB. */
const BUFFERED = 64_000;
/** So many bytes are in flight at once, and the wait has room for them; a larger message is one write. */
const AT_ONCE = 262_144;
/** So many keep alives at most are added to the wait. */
const MOST = 5;

/** A client that keeps sending need not ping, but would not notice a dead connection: after so many keep alives without a byte received it sends PINGREQ. */
const SILENCE = 2;

/** The keep alive of one connection; who sends for it tells what happens. Times are in milliseconds. */
export class KeepAlive {
  /** PINGREQ goes out a little before the keep alive is over, so that it is never exceeded [MQTT-3.1.2-23]. */
  #after = Infinity;
  #wait = 0;
  /** The most that is added to it. */
  #most = 0;
  /** Until when a slow line would be busy with what has gone out. */
  #busyUntil = -Infinity;
  #lastSent: number;
  /** When it was last checked whether anything comes. */
  #lastLook: number;
  /** Bytes received by then. */
  #receivedThen = 0;
  /** Writes until an unanswered PINGREQ has gone out: one that was in flight, and its own. */
  #behind = 0;
  /** The wait for PINGRESP, with what was before PINGREQ. */
  #patience = 0;
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
    this.#most = keepalive * 1000 * MOST;
  }

  /** So many bytes have gone out: it starts anew. `isPart`: there are more before a PINGREQ can come. */
  sent(now: number, length: number, isPart = false): void {
    this.#lastSent = now;
    this.#busyUntil = Math.min(Math.max(this.#busyUntil, now) + length / SLOWEST, now + BUFFERED);
    if (this.#answerDue === Infinity || this.#behind === 0) return;
    if (!isPart) this.#behind--;
    this.#await(now, this.#busyUntil - now);
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
   * `writing`: so many bytes are in flight, and PINGREQ is in the next write. `reading` is false while the application does not let us read: the answer may be there.
   *
   * When the wait for PINGRESP is over, the connection is not given up at once: the timer may be late (a suspended
   * machine, a blocked thread), and PINGRESP be in the socket, behind other packets perhaps. So the socket is read on
   * while more comes. It is given up when a GRACE brings next to nothing, or too much has come without PINGRESP.
   *
   * @throws {MqttError} `"pingresp"`.
   */
  tick(now: number, reading: boolean, writing: number): boolean {
    if (now >= this.#answerDue) this.#checkAnswer(now, reading);
    const silent = now >= this.#lastLook + SILENCE * this.#after && this.#look(now);
    if (now < this.#lastSent + this.#after && !silent) return false;
    this.#lastSent = now;
    if (this.#answerDue === Infinity) {
      // What is in flight has no place in the buffers, so it is seen that they empty: the wait begins anew then.
      this.#await(now, writing > 0 ? (writing - AT_ONCE) / SLOWEST : this.#busyUntil - now);
      this.#behind = writing > 0 ? 2 : 1;
      this.#receivedFirst = -1;
    }
    return true;
  }

  /** PINGRESP must come, so many milliseconds later on a slow line; whole seconds count. */
  #await(now: number, later: number): void {
    this.#patience = this.#wait + Math.min(Math.max(Math.floor(later / 1000), 0) * 1000, this.#most);
    this.#answerDue = now + this.#patience;
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
      throw new MqttError("pingresp", `The broker did not answer PINGREQ within ${this.#patience} ms`);
    }
    this.#receivedLast = this.#received;
    this.#answerDue = now + GRACE;
  }
}
