/** The states of a session, and what leads from one to another.
 * @module */

/**
 * In which state a session is.
 *
 * | state | in which | what ends it in time | leads to |
 * |---|---|---|---|
 * | `connecting` | a connection is opened, CONNACK awaited | `timeout` | `open`, `waiting`, `connecting` at the next address, `closed` |
 * | `open` | the broker has accepted | the keep alive | `waiting`, `draining`, `closing`, `closed` |
 * | `waiting` | time passes until the next attempt, or the program is asked when that is | the delay | `connecting`, `closed` |
 * | `draining` | what was received is settled, nothing more is delivered | `timeout` in which nothing is settled | `closing`, `closed` |
 * | `closing` | what was accepted is sent, then DISCONNECT | `timeout` | `leaving`, `closed` |
 * | `leaving` | DISCONNECT is sent, the broker may close | a second | `closed` |
 * | `closed` | everything is settled | | |
 */
export type State = "connecting" | "open" | "waiting" | "draining" | "closing" | "leaving" | "closed";
