/** The part of `@std/net` the tests use, on `node:net`: same names, same signatures. */
import { type AddressInfo, createServer } from "node:net";

/** A TCP port nobody listens on now. Without a host, listen() binds before it returns. */
export function getAvailablePort(options?: { preferredPort?: number }): number {
  const server = createServer().on("error", () => {}).listen(options?.preferredPort ?? 0);
  const address = server.address() as AddressInfo | null;
  server.close();
  return address?.port ?? getAvailablePort();
}
