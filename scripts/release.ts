/**
 * Whether this tree may be released as a tag says: `deno run -A scripts/release.ts v0.2.0`. It ends with 1, and says why,
 * if not.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** The files that say which version this is. */
export interface Versions {
  /** `package.json`, for npm, and `deno.json`, for JSR. */
  npm: string;
  jsr: string;
  changelog: string;
}

/** What is wrong with releasing them as `tag`; undefined if nothing is. */
export function mistake(tag: string, { npm, jsr, changelog }: Versions): string | undefined {
  if (!/^v\d+\.\d+\.\d+(-[\w.]+)?$/.test(tag)) return `${tag} is no tag such as v0.2.0 or v0.2.0-beta.1`;
  const version = tag.slice(1);
  if (npm !== version) return `package.json has version ${npm}, not ${version}`;
  if (jsr !== version) return `deno.json has version ${jsr}, not ${version}`;
  const [, title] = /^## (.*)$/m.exec(changelog) ?? [];
  // A heading such as "0.2.0, 2026-12-01".
  if (title === undefined || !new RegExp(`^${version.replaceAll(".", "\\.")}, \\d{4}-\\d\\d-\\d\\d$`).test(title)) {
    return `CHANGELOG.md begins with "${title}", not with "${version}, " and the date`;
  }
  return undefined;
}

/** Those of this tree. */
export function versions(): Versions {
  const read = (file: string) => readFileSync(join(import.meta.dirname!, "..", file), "utf8");
  const version = (file: string) => (JSON.parse(read(file)) as { version: string }).version;
  return { npm: version("package.json"), jsr: version("deno.json"), changelog: read("CHANGELOG.md") };
}

if (import.meta.main) {
  const [tag = ""] = process.argv.slice(2), wrong = mistake(tag, versions());
  console.log(wrong ?? `${tag} may be released`);
  process.exitCode = wrong === undefined ? 0 : 1;
}
