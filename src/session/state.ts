/** The states of a session, what leads from one to another, and how long some of them last.
 * @module */

/** A publish waits while more bytes than this do. */
export const HIGH_WATER = 65_536;
/** Milliseconds in which a broker that got DISCONNECT may close the connection before we do. */
export const LINGER = 1000;
/** Milliseconds for which a hint that the way to the broker has changed counts: PINGREQ is answered by then, or will not be. */
export const HINTED = 15_000;
/** Milliseconds in which somebody may still ask why the client has ended. */
export const HEARD_WITHIN = 1000;

/**
 * In which state a session is.
 *
 * | state | in which | what ends it in time | leads to |
 * |---|---|---|---|
 * | `connecting` | a connection is opened, CONNACK awaited | `timeout` | `open`, `waiting`, `connecting` at the next address, `closed` |
 * | `open` | the broker has accepted | the keep alive | `waiting`, `draining`, `closing`, `refusing`, `closed` |
 * | `waiting` | time passes until the next attempt, or the program is asked when that is | the delay | `connecting`, `closed` |
 * | `draining` | what was received is settled, nothing more is delivered | `timeout` in which nothing is settled | `closing`, `closed` |
 * | `closing` | what was accepted is sent, then DISCONNECT | `timeout` | `leaving`, `closed` |
 * | `leaving` | DISCONNECT is sent, the broker may close | a second | `closed` |
 * | `refusing` | the broker has made a mistake, and DISCONNECT tells it (MQTT 5) | a second | `waiting`, `closed` |
 * | `closed` | everything is settled | | |
 */
export type State = "connecting" | "open" | "waiting" | "draining" | "closing" | "leaving" | "refusing" | "closed";
