/** Names that the program may give: one that does not exist is told, with the name that is meant.
 * @module */

/** Names that belong together, and what other libraries and habits call them. */
export interface Names {
  /** Who takes them, and how they are written there: `tls.ca`. */
  readonly of: string;
  readonly prefix?: string;
  readonly own: readonly string[];
  /** By the foreign name, in small letters without `_` and `-`: what to do instead. */
  readonly foreign: Readonly<Record<string, string>>;
}

/**
 * Checks that every name that is given exists; one whose value is undefined is not given.
 *
 * @throws {TypeError} Which says what is meant; also of a value that is null.
 */
export function checkKnown(names: Names, given: object): void {
  const { prefix = "", own } = names;
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (!own.includes(name)) throw unknownName(names, name);
    if (value === null) throw new TypeError(`Cannot use ${prefix}${name} as it is null: leave it out`);
  }
}

/** The error of a name that does not exist. */
function unknownName({ of, prefix = "", own, foreign }: Names, name: string): TypeError {
  const plain = normalize(name);
  const nearest = own.map((known) => ({ known, distance: distance(plain, normalize(known)) }))
    .reduce((best, other) => other.distance < best.distance ? other : best);
  const advice = Object.hasOwn(foreign, plain)
    ? foreign[plain]
    : nearest.distance <= 1 + plain.length / 4
    ? `did you mean ${prefix}${nearest.known}?`
    : `it has ${own.map((known) => prefix + known).join(", ")}`;
  return new TypeError(`Cannot use ${prefix}${name} as ${of}() has no such option: ${advice}`);
}

/** Spelling that is a matter of taste does not count. */
function normalize(name: string): string {
  return name.toLowerCase().replaceAll(/[_-]/g, "");
}

/** How many letters must be put in, left out, replaced, or swapped with their neighbour to make one word the other. */
function distance(from: string, to: string): number {
  // rows[i][j] is the distance of the first i letters of the one and the first j of the other.
  const rows: number[][] = [Array.from({ length: to.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= from.length; i++) {
    const row = [i], above = rows[i - 1]!;
    for (let j = 1; j <= to.length; j++) {
      const replaced = above[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      const isSwapped = from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      const swapped = isSwapped ? rows[i - 2]![j - 2]! + 1 : Infinity;
      row.push(Math.min(replaced, swapped, above[j]! + 1, row[j - 1]! + 1));
    }
    rows.push(row);
  }
  return rows[from.length]![to.length]!;
}
