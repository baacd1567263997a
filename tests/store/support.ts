/** A folder for files of a store, and who reads them. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileStore, type MqttError, type SessionStore, type StoreReader } from "../../mod.ts";

/** Gives `use` a new folder in another one, and removes it. */
export async function inFolder(
  use: (folder: string) => void | Promise<void>,
  parent: string = tmpdir(),
): Promise<void> {
  const folder = mkdtempSync(join(parent, "mqtt3c-store-"));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The names of the files in a folder. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder).sort();
}

/** Keeps what a store gives to its reader. */
export class Recorder implements StoreReader {
  readonly blocking: boolean;
  readonly records: Uint8Array[] = [];
  readonly errors: MqttError[] = [];

  constructor(blocking = true) {
    this.blocking = blocking;
  }

  /** The records as text. */
  get texts(): string[] {
    return this.records.map(text);
  }

  /** What was told. */
  get messages(): string[] {
    return this.errors.map(({ code, message }) => `${code}: ${message}`);
  }

  read(record: Uint8Array): void {
    this.records.push(record.slice());
  }

  told(error: MqttError): void {
    this.errors.push(error);
  }
}

/** The bytes of a text. */
export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The text of bytes. */
export function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** The numbers of `from` to `to` as texts. */
export function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`);
}

/** Appends texts and flushes them. */
export function keep(store: SessionStore, texts: readonly string[]): void | Promise<void> {
  for (const text of texts) store.append(bytes(text));
  return store.flush();
}

/** Makes a store with these records, and closes it. */
export function write(path: string, records: readonly Uint8Array[]): void {
  const store = fileStore(path);
  store.open(new Recorder());
  for (const record of records) store.append(record);
  store.flush();
  store.close();
}

/** Opens a store, and closes it. */
export function read(path: string): Recorder {
  const recorder = new Recorder();
  const store = fileStore(path);
  store.open(recorder);
  store.close();
  return recorder;
}
