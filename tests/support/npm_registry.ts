/** A registry of npm with one package in it, as npm, Bun and Deno ask for it. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** Where it is, as an environment variable that npm, Bun and Deno know. */
export interface Registry {
  env: { npm_config_registry: string; NPM_CONFIG_REGISTRY: string };
  stop(): Promise<void>;
}

/** Starts one that has the package whose tarball and manifest are given, and nothing else. */
export async function startRegistry(tarball: string, manifest: { name: string; version: string }): Promise<Registry> {
  const { name, version } = manifest;
  const bytes = readFileSync(tarball), path = `/${name}/-/${name}-${version}.tgz`;
  const integrity = `sha512-${createHash("sha512").update(bytes).digest("base64")}`;
  const server = createServer((request, response) => {
    const url = `http://${request.headers.host}${path}`;
    if (request.url === path) response.end(bytes);
    else if (request.url === `/${name}`) {
      response.setHeader("content-type", "application/json").end(JSON.stringify({
        name,
        "dist-tags": { latest: version },
        versions: { [version]: { ...manifest, dist: { tarball: url, integrity } } },
        // Who installs nothing that is younger than some days takes it.
        time: { [version]: "2026-01-01T00:00:00.000Z" },
      }));
    } else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return {
    env: { npm_config_registry: url, NPM_CONFIG_REGISTRY: url },
    stop: () => new Promise((resolve) => (server.close(() => resolve()), server.closeAllConnections())),
  };
}
