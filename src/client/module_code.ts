/** What runs in the thread of an `onpub` module. The build of the npm package puts another module in this one's place,
 * whose code has all of `module_host.ts` in it.
 * @module */

import { scriptOf } from "../worker/script.ts";
import { locate } from "./module_host.ts";

/**
 * The thread's first script.
 *
 * @throws {TypeError} In a bundle: what that exports, if anything, is not what the thread needs.
 */
export function moduleCode(): string {
  const url = locate();
  return scriptOf({ url, isBundled: url === import.meta.url, start: "startHost", failed: "throw error;" });
}
