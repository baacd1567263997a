/** What runs in a client's thread. The build of the npm package puts another module in this one's place, whose code
 * has all of `relay.ts` in it.
 * @module */

import { locate } from "./relay.ts";

/**
 * The thread's first script. It imports `relay.ts`, which this module has imported: Deno can load nothing new while
 * the calling thread blocks. It listens before the import is done, as Deno drops messages that nobody listens for. When
 * the import fails, it answers each connection at its port: events do not reach a thread that blocks.
 *
 * @throws {TypeError} In a bundle: what that exports, if anything, is not what the thread needs.
 */
export function threadCode(): string {
  const url = locate();
  // Modules in one file have one URL; as CommonJS they have none.
  if (url === import.meta.url) {
    throw new TypeError(
      "Cannot start a thread as a bundle of mqtt3c's sources has no code for it: " +
        "bundle the npm package mqtt3c instead, or leave mod.ts out of the bundle (external)",
    );
  }
  return `
    const { parentPort, workerData: { said } } = process.getBuiltinModule("node:worker_threads");
    const hearing = import(${JSON.stringify(url)}).then(({ startRelay }) => startRelay());
    hearing.catch(() => {});
    parentPort.on("message", (message) => hearing.then((hear) => hear(message), (error) => {
      if (message === "exit") process.exit();
      const cause = { name: error.name, message: error.message, code: error.code, stack: error.stack };
      const over = { name: "MqttError", message: "The connection's thread did not start: " + cause.message, cause };
      message.port?.postMessage({ over: { ...over, code: "socketclosed" }, rest: new Uint8Array(0) });
      if (said === undefined) return;
      Atomics.add(said, 0, 1);
      Atomics.notify(said, 0);
    }));`;
}
