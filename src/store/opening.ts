/** Opens the file of a store, whatever is in it.
 * @module */

import type { StoreReader } from "./session_store.ts";
import { attempt, codeOf, type Fs, remove, storeError, StoreFile } from "./file.ts";
import { type Beginning, type End, firstSequence, HEADER, mendHeader, readHeader } from "./format.ts";
import type { Job } from "./job.ts";
import { Log } from "./log.ts";
import { NewLog, newPath } from "./new_log.ts";
import { type Part, scan } from "./scan.ts";

/** So many damaged files are kept; then the last of them gives way. */
const MOST_DAMAGED = 9;

/** What is opened, and who reads it. */
export interface Opening {
  readonly fs: Fs;
  readonly path: string;
  readonly reader: StoreReader;
}

/**
 * Opens a log, and gives its records to the reader; makes one where there is none.
 *
 * @throws {MqttError} `"store"` if it cannot be read or made, or a newer version has made it.
 */
export function* openLog(opening: Opening): Job<Log> {
  const { fs, path } = opening;
  const found = attempt(cannot(path), () => fs.statSync(path, { throwIfNoEntry: false }));
  if (found === undefined) return makeLog(opening);
  if (!found.isFile()) throw storeError(`${cannot(path)} as that is no file`);
  const file = attempt(cannot(path), () => new StoreFile(fs, path, "r+"));
  let log: Log | undefined;
  try {
    return log = yield* openFile(opening, file);
  } finally {
    if (log?.file !== file) file.close();
  }
}

function cannot(path: string): string {
  return `Cannot open the store ${path}`;
}

function* openFile(opening: Opening, file: StoreFile): Job<Log> {
  const { fs, path, reader } = opening;
  const start = new Uint8Array(HEADER);
  const bytes = start.subarray(0, file.read(start, 0));
  const beginning = readHeader(bytes);
  if (beginning.kind === "newer") {
    throw storeError(`${cannot(path)} as a newer version of this library has made it, in format ${beginning.version}`);
  }
  attempt(cannot(path), () => remove(fs, newPath(path))); // of a process that was killed
  if (beginning.kind === "unfinished") return makeLog(opening);
  if (beginning.kind === "foreign") {
    let log: Log;
    const aside = replaceAside(opening, { word: "foreign", most: Infinity }, () => log = makeLog(opening));
    reader.told(storeError(`The file ${path} is no store: it is kept as ${aside}, and a new one was begun`));
    return log!;
  }
  return yield* readLog(opening, file, beginning, bytes);
}

function makeLog({ fs, path }: Opening): Log {
  const made = new NewLog(fs, path, firstSequence());
  made.rename();
  return made.log;
}

/** Reads the records; what is damaged is told. */
function* readLog(
  opening: Opening,
  file: StoreFile,
  { header, broken }: Extract<Beginning, { kind: "header" }>,
  start: Uint8Array,
): Job<Log> {
  const { fs, path, reader } = opening;
  // Of one that is shorter, the second copy was cut off with all that followed: that is a torn tail.
  if (broken !== 0 && start.length === HEADER) {
    reader.told(storeError(`The store ${path} had a damaged header: it was mended from its copy, and nothing is lost`));
  }
  const part = { ...header, from: HEADER, to: file.size };
  let isDamaged = false;
  const last = yield* scan(file, part, {
    read: (record) => reader.read(record),
    damaged(from, to) {
      isDamaged = true;
      const what = `${to - from} bytes from byte ${from} on were passed over, and what follows was read`;
      reader.told(storeError(`The store ${path} is damaged: ${what}`));
    },
  });
  const mended = isDamaged ? yield* mend(opening, file, part, last) : undefined;
  if (mended !== undefined) return mended;
  attempt(cannot(path), () => {
    if (broken !== 0) file.write(mendHeader(start, broken), HEADER, 0);
    if (last.end < part.to) file.truncate(last.end);
  });
  return new Log({ fs, path, file, seed: header.seed, end: last });
}

/**
 * Writes the records of a damaged file into a new one, and keeps the old one aside. Undefined if that cannot be done, on a
 * full disk for example: what was damaged is then passed over again the next time.
 */
function* mend(opening: Opening, file: StoreFile, part: Part, { next }: End): Job<Log | undefined> {
  const { fs, path, reader } = opening;
  let mended: NewLog | undefined;
  try {
    const made = mended = new NewLog(fs, path, next);
    yield* scan(file, part, { read: (record) => void made.append(record), damaged: () => undefined });
    made.write();
    made.log.keepOnDisk();
  } catch (error) {
    mended?.discard();
    reader.told(storeError(`The store ${path} goes on with its damage, as it cannot be mended now`, error));
    return undefined;
  }
  const { log } = mended;
  const aside = replaceAside(opening, { word: "damaged", most: MOST_DAMAGED }, () => mended.rename());
  reader.told(storeError(`The store ${path} was mended: as it was it is kept as ${aside}`));
  return log;
}

/** Gives a file a second name, and has its own name given to another one. Returns the second name. */
function replaceAside(
  { fs, path }: Opening,
  { word, most }: { word: string; most: number },
  replace: () => void,
): string {
  const aside = attempt(`Cannot keep the file ${path} aside`, () => keepAside(fs, `${path}.${word}-`, path, most));
  try {
    replace();
  } catch (error) {
    remove(fs, aside);
    throw error;
  }
  return aside;
}

/** Links to the first number that is free; to the last one, if none is. */
function keepAside(fs: Fs, beginning: string, path: string, most: number): string {
  for (let number = 1;; number++) {
    const aside = `${beginning}${number}`;
    if (number === most) remove(fs, aside);
    try {
      fs.linkSync(path, aside);
      return aside;
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
  }
}
