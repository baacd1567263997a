/** The counters of a session, wherever they are kept.
 * @module */

import type { Stats } from "../status.ts";
import type { Output } from "../protocol/output.ts";
import type { Backlog } from "./backlog.ts";
import type { Flight } from "./flight.ts";
import type { Intake } from "./intake.ts";
import type { Receiver } from "./receiver.ts";

/** What keeps them. */
export interface Counting {
  readonly output: Output;
  readonly flight: Flight;
  readonly intake: Intake;
  readonly receiver: Receiver;
  readonly backlog: Backlog;
}

/** As they are now. */
export function statsOf({ output, flight, intake, receiver, backlog }: Counting): Stats {
  const { count, failed, unclaimed } = backlog;
  return {
    sent: output.sent + flight.sent,
    resent: flight.resent,
    received: intake.received,
    dropped: receiver.dropped,
    unsettled: count,
    failed,
    unclaimed,
    unacknowledged: flight.unacknowledged,
    ignored: flight.ignored,
  };
}
