/** The library under test: the sources, or a copy with a mistake in it. */
import { onAbort } from "../../src/client/abort.ts";
import { checkSubscriptions } from "../../src/client/arguments.ts";
import { LoopClient } from "../../src/client/loop_client.ts";
import { MessageIterator } from "../../src/client/message_iterator.ts";
import { parseSettings } from "../../src/client/settings.ts";
import { invoke, MqttError, surface } from "../../src/errors.ts";
import { Inbox } from "../../src/session/inbox.ts";
import { Restored } from "../../src/session/restored.ts";
import { SyncClient } from "../../src/client/sync_client.ts";
import { Session } from "../../src/session/session.ts";

/** What a history needs of it. */
export interface Library {
  readonly checkSubscriptions: typeof checkSubscriptions;
  readonly Inbox: typeof Inbox;
  readonly invoke: typeof invoke;
  readonly LoopClient: typeof LoopClient;
  readonly MessageIterator: typeof MessageIterator;
  readonly MqttError: typeof MqttError;
  readonly onAbort: typeof onAbort;
  readonly parseSettings: typeof parseSettings;
  readonly Restored: typeof Restored;
  readonly Session: typeof Session;
  readonly SyncClient: typeof SyncClient;
  readonly surface: typeof surface;
}

/** The sources. */
export const library: Library = {
  checkSubscriptions,
  Inbox,
  invoke,
  LoopClient,
  MessageIterator,
  MqttError,
  onAbort,
  parseSettings,
  Restored,
  Session,
  SyncClient,
  surface,
};

const FILES = [
  "client/abort.ts",
  "client/arguments.ts",
  "client/loop_client.ts",
  "client/message_iterator.ts",
  "client/settings.ts",
  "client/sync_client.ts",
  "errors.ts",
  "session/inbox.ts",
  "session/restored.ts",
  "session/session.ts",
];

/** A copy of them; `directory` is a URL. */
export async function loadLibrary(directory: string): Promise<Library> {
  const modules = await Promise.all(FILES.map((file) => import(`${directory}/${file}`)));
  return Object.assign({}, ...modules);
}
