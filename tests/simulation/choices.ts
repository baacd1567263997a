/** What a seed chooses for a client: the options that it is made with. */
import type { ConnectOptions } from "../../src/api.ts";
import type { Random } from "../support/random.ts";
import type { World } from "./world.ts";

/** Options for the client in the event loop; it may be made again after a lost connection, and ended by the signal. */
export function chooseOptions(
  random: Random,
  { world, reconnect, signal }: { world: World; reconnect: boolean; signal: AbortSignal },
): ConnectOptions {
  const slow = random.pick([5, 500, 5000]);
  return {
    id: "simulated",
    keepalive: random.pick([0, 2, 5, 20, 20, 20]),
    session: random.chance(0.5),
    timeout: slow === 5000 ? 10_000 : random.pick([2000, 10_000]),
    maxPacketSize: random.pick([200, 5000, 16 << 20]),
    maxBuffered: random.pick([2000, 2000, 100_000, 16 << 20]),
    receiveMaximum: random.pick([1, 2, 10, 1000]),
    ...random.chance(0.3) && { uname: random.pick(["user", () => "user", () => world.sleep(slow).then(() => "u")]) },
    ...random.chance(0.5) && { signal },
    ...reconnect &&
      {
        reconnect: {
          minDelay: random.pick([random.int(1, 500), random.int(500, 5000)]),
          maxDelay: 5000,
          attempts: random.pick([3, Infinity, Infinity]),
          stableAfter: random.pick([100, 3000, 30_000]),
        },
      },
  };
}
