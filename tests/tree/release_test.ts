/** What is released is what its tag says. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { mistake, versions } from "../../scripts/release.ts";

const root = join(import.meta.dirname!, "..", "..");

test("release: package.json, deno.json and the changelog agree with the tag, or it says which does not", () => {
  const good = {
    npm: "1.2.0",
    jsr: "1.2.0",
    changelog: "# Changelog\n\n## 1.2.0, 2026-12-01\n\n- New\n\n## 1.1.0, 2026-11-01\n",
  };
  assertEquals(mistake("v1.2.0", good), undefined);
  const rows: [tag: string, changes: Partial<typeof good>, told: RegExp][] = [
    ["1.2.0", {}, /^1\.2\.0 is no tag/],
    ["v1.2", {}, /is no tag/],
    ["v1.2.1", {}, /package\.json has version 1\.2\.0, not 1\.2\.1/],
    ["v1.2.0", { npm: "1.1.0" }, /package\.json/],
    ["v1.2.0", { jsr: "1.1.0" }, /deno\.json/],
    ["v1.2.0", { changelog: "# Changelog\n\n## Unreleased\n\n## 1.2.0, 2026-12-01\n" }, /begins with "Unreleased"/],
    ["v1.2.0", { changelog: "# Changelog\n\n## 1.2.0\n" }, /and the date/],
    ["v1.2.0", { changelog: "# Changelog\n\n## 1x2.0, 2026-12-01\n" }, /CHANGELOG\.md/],
  ];
  for (const [tag, changes, told] of rows) assertMatch(mistake(tag, { ...good, ...changes }) ?? "", told, tag);
});

test("release: this tree has one version, and its changelog begins with what is not released or with it", () => {
  const { npm, jsr, changelog } = versions();
  assertEquals(npm, jsr);
  const [, title] = /^## (.*)$/m.exec(changelog)!;
  if (title !== "Unreleased") assertEquals(mistake(`v${npm}`, versions()), undefined);
  for (const page of ["README.md", "docs/install.md"]) {
    const named = [...readFileSync(join(root, page), "utf8").matchAll(/\bmqtt3c[-@](\d[\w.-]*)(?=\.tgz|\/)/g)];
    assertEquals([...new Set(named.map(([, version]) => version))], [npm], page);
  }
});

test("release: the workflow checks the tag and runs the tests before it publishes", () => {
  const steps = [...readFileSync(join(root, ".github/workflows/release.yml"), "utf8").matchAll(/^ {6}- run: (.*)$/gm)];
  assertEquals(steps.map(([, command]) => command), [
    `npx -y deno run -A scripts/release.ts "$GITHUB_REF_NAME"`,
    ".ci/run",
    "npx -y deno publish",
    `npm pkg set repository.type=git "repository.url=git+$GITHUB_SERVER_URL/$GITHUB_REPOSITORY.git"`,
    "npx -y deno task pack",
    "npm publish --provenance --access public ./packed/mqtt3c-*.tgz",
    `gh release create "$GITHUB_REF_NAME" --verify-tag --notes "CHANGELOG.md says what is new." packed/*`,
  ]);
});
