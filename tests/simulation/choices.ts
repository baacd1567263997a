/** What a seed chooses for a client: the options that it is made with, and what CONNECT has of them. */
import type { ConnectOptions } from "../../src/options.ts";
import type { Settings } from "../../src/client/settings.ts";
import type { Connect } from "../support/naive.ts";
import { numberIn } from "../support/naive_properties.ts";
import type { Random } from "../support/random.ts";
import type { Wanted } from "./versions.ts";
import type { World } from "./world.ts";

/** Options for the client in the event loop; it may be made again after a lost connection, and ended by the signal. */
export function chooseOptions(
  random: Random,
  { world, reconnect, signal, version }: {
    world: World;
    reconnect: boolean;
    signal: AbortSignal;
    version: Wanted;
  },
): ConnectOptions {
  // Two connections of "auto" ask for the credentials, each, within one deadline.
  const slow = random.pick([5, 500, version === "auto" ? 2000 : 5000]);
  return {
    id: "simulated",
    version,
    ...version === 5 && { topicAliases: random.pick([0, 1, 100]) },
    keepalive: random.pick([0, 2, 5, 20, 20, 20]),
    session: random.chance(0.5),
    timeout: slow > 500 ? 10_000 : random.pick([2000, 10_000]),
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

/** Properties of CONNECT. */
const SESSION_EXPIRY = 17, RECEIVE_MAXIMUM = 33, ALIASES = 34, LARGEST = 39;

/** CONNECT says what the options say. */
export function checkConnect(
  { cleanSession, keepalive, properties = [] }: Connect,
  settings: Settings,
  version: number,
  fail: (what: string) => void,
): void {
  const check = (what: string, found: unknown, right: unknown) => {
    if (found !== right) fail(`CONNECT has ${what} ${found}, and not ${right}`);
  };
  check("clean start", cleanSession, settings.cleanSession);
  check("keep alive", keepalive, settings.keepalive);
  if (version === 4) return;
  check("session expiry", numberIn(properties, SESSION_EXPIRY) ?? 0, settings.sessionExpiry);
  check("Receive Maximum", numberIn(properties, RECEIVE_MAXIMUM), settings.receiveMaximum);
  check("maximum packet size", numberIn(properties, LARGEST), settings.maxPacketSize);
  check("topic alias maximum", numberIn(properties, ALIASES) ?? 0, settings.topicAliases);
}
