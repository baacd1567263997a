/** What the errors of a session say that come of time: of answers, of room, and of what was not sent.
 * @module */

import { MqttError } from "../errors.ts";

/** The broker's answer may be there, and is not read: so many messages were received and are not settled. */
export function unread(failure: string, unsettled: number): MqttError {
  return new MqttError(
    "overflow",
    `${failure}: ${unsettled} messages were received and are not settled, more than maxBuffered`,
  );
}

/** An answer has not come within `timeout` milliseconds. */
export function unanswered(
  timeout: number,
  { reading, unsettled }: { reading: boolean; unsettled: number },
): MqttError {
  if (reading) return new MqttError("timeout", `The broker did not answer within ${timeout} ms`);
  return unread(`The broker's answer was not read within ${timeout} ms`, unsettled);
}

/** Nothing was settled for `timeout` milliseconds, and disconnect() has waited for that. */
export function notDrained(timeout: number, unsettled: number): MqttError {
  return new MqttError(
    "timeout",
    `disconnect() did not wait longer: none of ${unsettled} messages was settled within ${timeout} ms`,
  );
}

/** There is no connection after `timeout` milliseconds. */
export function notConnected(timeout: number): MqttError {
  return new MqttError("timeout", `No connection, or no answer to CONNECT, within ${timeout} ms`);
}

/** After `timeout` milliseconds disconnect() has not sent all. */
export function notSentInTime(timeout: number, bytes: number): MqttError {
  return new MqttError("timeout", `${bytes} bytes could not be sent within ${timeout} ms of disconnect()`);
}

/** The client has ended without a connection. */
export function notSent(bytes: number): MqttError {
  return new MqttError("socketclosed", `${bytes} bytes were not sent: there was no connection`);
}

/** The store cannot keep what was written down. */
export function notStored(cause: unknown): MqttError {
  return cause instanceof MqttError ? cause : new MqttError("store", "The store could not keep the message", cause);
}

/** The store cannot be written anew, without what means nothing any more. */
export function notReplaced(cause: unknown): MqttError {
  return cause instanceof MqttError ? cause : new MqttError("store", "The store could not be compacted", cause);
}

/** The broker has a session whose store is gone. */
export function orphaned(): MqttError {
  return new MqttError(
    "sessionlost",
    "The session has no store any more: it begins anew [MQTT5-3.2.2-4]",
  );
}
