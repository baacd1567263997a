/** A proxy to a broker on this machine, through which so many bytes a second pass to it: `narrow_line.ts port rate`. */
import { type AddressInfo, connect, createServer } from "node:net";
import process from "node:process";

const [port, rate] = process.argv.slice(2).map(Number) as [number, number];
/** Milliseconds between two looks. */
const INTERVAL = 20;

const server = createServer((client) => {
  const broker = connect(port, "127.0.0.1");
  client.on("readable", () => {}); // so that read() gives what has come
  const timer = setInterval(() => {
    const chunk = client.read(Math.min(client.readableLength, rate * INTERVAL / 1000)) as Uint8Array | null;
    if (chunk !== null) broker.write(chunk);
  }, INTERVAL);
  broker.pipe(client);
  client.on("error", () => broker.destroy()).on("close", () => {
    clearInterval(timer);
    broker.end();
  });
  broker.on("error", () => client.destroy()).on("close", () => client.destroy());
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`));
