/** What runs in the thread of the connections. The build of the npm package puts another module in this one's place,
 * whose code has all of `relay.ts` in it.
 * @module */

import { locate } from "./relay.ts";
import { scriptOf } from "./script.ts";

/**
 * The thread's first script. When its import fails, it answers each connection at its port: events do not reach a
 * thread that blocks.
 *
 * @throws {TypeError} In a bundle: what that exports, if anything, is not what the thread needs.
 */
export function threadCode(): string {
  const url = locate();
  return scriptOf({
    url,
    isBundled: url === import.meta.url,
    start: "startRelay",
    failed: `
      const cause = { name: error.name, message: error.message, code: error.code, stack: error.stack };
      const over = { name: "MqttError", message: "The connection's thread did not start: " + cause.message, cause };
      message.port.postMessage({ over: { ...over, code: "socketclosed" }, rest: new Uint8Array(0) });
      if (message.said === undefined) return;
      Atomics.add(message.said, 0, 1);
      Atomics.notify(message.said, 0);`,
  });
}
