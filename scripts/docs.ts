/**
 * Makes one site of README.md, what it links to, and the API: `deno task docs`, into `site/`. A link that leads nowhere
 * is an error.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { dirname, extname, join as joinUrl, relative } from "node:path/posix";
import process from "node:process";
import { slug } from "github-slugger";
import MarkdownIt from "markdown-it";
import anchor from "markdown-it-anchor";
import { close, createIndex } from "pagefind";
import { spawnOk } from "./spawn.ts";

const root = join(import.meta.dirname!, "..");

/** In the head of each page. */
const menu: [name: string, page: string][] = [
  ["mqtt3c", "README.md"],
  ["Pages", "docs/README.md"],
  ["Examples", "examples/README.md"],
  ["API", "api/index.html"],
  ["Changes", "CHANGELOG.md"],
  ["Contributing", "CONTRIBUTING.md"],
];

const style = `
:root {
  color-scheme: light dark;
  --line: #8884;
  --pagefind-ui-text: CanvasText;
  --pagefind-ui-background: Canvas;
  --pagefind-ui-border: var(--line);
  --pagefind-ui-font: inherit;
}
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 0 1rem 4rem; overflow-wrap: break-word; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: .75rem 0; border-bottom: 1px solid var(--line); }
code { font-size: .9em; }
pre, table { overflow-x: auto; display: block; max-width: 100%; }
pre { padding: .75rem; border: 1px solid var(--line); border-radius: .25rem; line-height: 1.35; }
table { border-collapse: collapse; }
th, td { border: 1px solid var(--line); padding: .25rem .5rem; vertical-align: top; text-align: left; min-width: 6rem; }
img { max-width: 100%; height: auto; background: #fff; }
`;

/** Makes the site in a folder, which it replaces; returns its pages without those of the API. */
export async function makeSite(site: string): Promise<string[]> {
  rmSync(site, { recursive: true, force: true });
  mkdirSync(site, { recursive: true });
  const { name } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { name: string };
  const api = ["doc", "--html", `--name=${name}`, `--output=${join(site, "api")}`, "mod.ts", "browser.ts"];
  spawnOk(process.execPath, api, root);
  writeFileSync(join(site, "style.css"), style);

  // What is linked to is a page, too; files are shown as they are.
  const found = new Set(menu.map(([, page]) => page).filter((page) => !page.startsWith("api/")));
  const anchors = new Map<string, Set<string>>(), asked: [page: string, file: string, anchor: string][] = [];
  const pages: string[] = [];
  for (const file of found) {
    const target = join(site, pageOf(file));
    mkdirSync(join(target, ".."), { recursive: true });
    if (isCopied(file)) {
      copyFileSync(join(root, file), target);
      continue;
    }
    const { html, links, ids } = file.endsWith(".md") ? renderMarkdown(file) : renderFile(file);
    anchors.set(file, ids);
    for (const [to, id] of links) {
      found.add(to);
      if (id !== "") asked.push([file, to, id]);
    }
    writeFileSync(target, pageWith(file, html));
    pages.push(pageOf(file));
  }
  for (const [page, to, id] of asked) {
    if (!anchors.get(to)?.has(id)) throw new Error(`${page} links to ${to}#${id}, which is not there`);
  }
  await addSearch(site);
  return pages;
}

/** The file of the site that has it. */
function pageOf(file: string): string {
  if (isCopied(file)) return file;
  if (statSync(join(root, file)).isDirectory()) return joinUrl(file, "index.html");
  return file.endsWith(".md") ? file.replace(/README\.md$/, "index.md").replace(/\.md$/, ".html") : `${file}.html`;
}

/** Whether a browser shows it by itself. */
function isCopied(file: string): boolean {
  return [".svg", ".png"].includes(extname(file));
}

interface Rendered {
  html: string;
  /** The files it links to, and the places in them. */
  links: [file: string, anchor: string][];
  /** The places in it. */
  ids: Set<string>;
}

/** A page of Markdown, whose links to files of the repository become links to their pages. */
function renderMarkdown(file: string): Rendered {
  const ids = new Set<string>(), links: [string, string][] = [];
  const markdown = new MarkdownIt({ html: true }).use(anchor, {
    slugify: (title: string) => slug(title),
    callback: (token: { attrGet(name: string): string | null }) => void ids.add(token.attrGet("id")!),
  });
  const tokens = markdown.parse(readFileSync(join(root, file), "utf8"), {});
  for (const token of tokens.flatMap(({ children }) => children ?? [])) {
    for (const attribute of ["href", "src"]) {
      const link = String(token.attrGet(attribute) ?? "https:");
      if (/^[a-z]+:/.test(link)) continue;
      const [path, id = ""] = link.split("#") as [string, string?];
      const to = path === "" ? file : indexed(joinUrl(dirname(file), decodeURI(path)));
      if (!existsSync(join(root, to))) throw new Error(`${file} links to ${link}, which is not there`);
      links.push([to, id]);
      token.attrSet(attribute, `${linkBetween(file, to)}${id && `#${id}`}`);
    }
  }
  return { html: markdown.renderer.render(tokens, markdown.options, {}), links, ids };
}

/** A folder is its page, if it has one. */
function indexed(file: string): string {
  const readme = joinUrl(file, "README.md");
  return existsSync(join(root, readme)) ? readme : file.replace(/\/$/, "");
}

/** A program as it is written, or a folder as a list of files. */
function renderFile(file: string): Rendered {
  const title = `<h1>${escape(file)}</h1>`, path = join(root, file), ids = new Set<string>();
  if (!statSync(path).isDirectory()) {
    return { html: `${title}<pre><code>${escape(readFileSync(path, "utf8"))}</code></pre>`, links: [], ids };
  }
  const files = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isFile())
    .map(({ name }) => joinUrl(file, name)).sort();
  const items = files.map((each) => `<li><a href="${linkBetween(file, each)}">${escape(each)}</a></li>`);
  return { html: `${title}<ul>${items.join("")}</ul>`, links: files.map((each) => [each, ""]), ids };
}

function linkBetween(from: string, to: string): string {
  return encodeURI(relative(dirname(pageOf(from)), to.startsWith("api/") ? to : pageOf(to)));
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

function pageWith(file: string, html: string): string {
  const top = relative(dirname(pageOf(file)), "") || ".";
  const [, title = file] = /<h1[^>]*>(.*?)<\/h1>/.exec(html) ?? [];
  const items = menu.map(([name, page]) => `<a href="${linkBetween(file, page)}">${name}</a>`);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title.replaceAll(/<[^>]*>/g, "")}${file === "README.md" ? "" : " - mqtt3c"}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${top}/pagefind/pagefind-ui.css">
<link rel="stylesheet" href="${top}/style.css">
<nav>${items.join("\n")}</nav>
<div id="search"></div>
<main data-pagefind-body>
${html}</main>
<script src="${top}/pagefind/pagefind-ui.js"></script>
<script>
new PagefindUI({ element: "#search", showImages: false, resetStyles: false });
</script>
</html>
`;
}

/** The index of the pages' words, and what looks for them in a browser, once the site is served. */
async function addSearch(site: string): Promise<void> {
  const { index, errors } = await createIndex();
  try {
    if (!index) throw new Error(errors.join("\n"));
    // Those of the API, which has its own search, are passed over: they have no data-pagefind-body.
    const steps = [
      await index.addDirectory({ path: site }),
      await index.writeFiles({ outputPath: join(site, "pagefind") }),
    ];
    const wrong = steps.flatMap(({ errors }) => errors);
    if (wrong.length) throw new Error(wrong.join("\n"));
  } finally {
    await close();
  }
}

if (import.meta.main) {
  const pages = await makeSite(join(root, "site"));
  console.log(`site/index.html, ${pages.length} pages, and the API in site/api/. To search, serve it: npx serve site`);
}
