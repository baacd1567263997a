/** The three modes, called alike: what they are given, and what they throw, is the same. */
import { type Client, connect, type ConnectOptions, connectSync, connectWorker, type SyncClient } from "../../mod.ts";

/** Opens a client, or rejects; `connectSync` blocks meanwhile, a server in this process does not answer it. */
export type Open = (addr: string | URL, onpub?: undefined, op?: ConnectOptions) => Promise<Client | SyncClient>;

/** By their names. */
export const modes: [name: string, open: Open][] = [
  ["connect", connect],
  ["connectWorker", connectWorker],
  ["connectSync", (addr, onpub, op) => Promise.resolve().then(() => connectSync(addr, onpub, op))],
];
