/** The library under test: the sources, or a copy with a mistake in it. */
import { LoopClient } from "../../src/client/loop_client.ts";
import { parseSettings } from "../../src/client/settings.ts";
import { MqttError } from "../../src/errors.ts";

/** What a history needs of it. */
export interface Library {
  readonly LoopClient: typeof LoopClient;
  readonly parseSettings: typeof parseSettings;
  readonly MqttError: typeof MqttError;
}

/** The sources. */
export const library: Library = { LoopClient, parseSettings, MqttError };

/** A copy of them; `directory` is a URL. */
export async function loadLibrary(directory: string): Promise<Library> {
  const files = ["client/loop_client.ts", "client/settings.ts", "errors.ts"];
  const modules = await Promise.all(files.map((file) => import(`${directory}/${file}`)));
  return Object.assign({}, ...modules);
}
