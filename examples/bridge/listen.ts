/** An HTTP server's address. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { ListenOptions } from "./program.ts";

/** Listens, and returns the URL that it has then. */
export async function listen(server: Server, { host = "127.0.0.1", port = 0 }: ListenOptions): Promise<string> {
  await new Promise<void>((resolve, reject) => server.on("error", reject).listen(port, host, resolve));
  const { address, family, port: actual } = server.address() as AddressInfo;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${actual}`;
}
