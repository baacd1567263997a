/** Makes one file of the page, with all that it consists of: it can be served, or opened from disk. */
import { buildSync } from "esbuild";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const shared = join(import.meta.dirname!, "..", "bridge", "page");
const uplot = dirname(createRequire(import.meta.url).resolve("uplot"));

/** The page's HTML. */
export function buildPage(): string {
  const entryPoints = [join(import.meta.dirname!, "page.js")];
  const { outputFiles } = buildSync({ entryPoints, bundle: true, format: "esm", minify: true, write: false });
  const script = outputFiles[0]!.text;
  const styles = [join(uplot, "uPlot.min.css"), join(shared, "page.css")].map((file) => readFileSync(file, "utf8"));
  const icon = `data:image/svg+xml;base64,${readFileSync(join(shared, "icon.svg")).toString("base64")}`;
  // A function, as text that replaces may have a `$` in it.
  return readFileSync(join(shared, "index.html"), "utf8")
    .replace(/ *<link rel="stylesheet"[^>]*>\n/g, "")
    .replaceAll("/icon.svg", () => icon)
    .replace(/<script [^>]*><\/script>/, () => `<style>${styles.join("\n")}</style>`)
    .replace("</body>", () => `<script type="module">${script.replaceAll("</script", "<\\/script")}</script></body>`);
}
