/** The first script of a thread.
 * @module */

/** What a script does. */
export interface ScriptParts {
  /** The module that the thread imports. */
  url: string;
  /** Whether that is one file with its importer: then nothing can be imported. */
  isBundled: boolean;
  /** What the module exports, and gives who hears what is said to the thread. */
  start: string;
  /** What is done with each `message` when the import fails with an `error`. */
  failed: string;
}

/**
 * A script that imports a module of ours, which its importer has imported, too: Deno can load nothing new while
 * the calling thread blocks. It listens before the import is done, as Deno drops messages that nobody listens for.
 *
 * @throws {TypeError} In a bundle.
 */
export function scriptOf({ url, isBundled, start, failed }: ScriptParts): string {
  // Modules in one file have one URL; as CommonJS they have none.
  if (isBundled) {
    throw new TypeError(
      "Cannot start a thread as a bundle of mqtt3c's sources has no code for it: " +
        "bundle the npm package mqtt3c instead, or leave mod.ts out of the bundle (external)",
    );
  }
  return `
    const { parentPort } = process.getBuiltinModule("node:worker_threads");
    const hearing = import(${JSON.stringify(url)}).then(({ ${start} }) => ${start}());
    hearing.catch(() => {});
    parentPort.on("message", (message) => hearing.then((hear) => hear(message), (error) => {
      if (message === "exit") process.exit();
      ${failed}
    }));`;
}
