/** A proxy to the broker on this machine, through which everything takes so many milliseconds; SIGHUP resets what it has. */
import process from "node:process";
import { startFaultProxy } from "../faults/proxy.ts";

const proxy = await startFaultProxy(1883, "0.0.0.0");
proxy.weather = { delay: Number(process.argv[2]) };
process.on("SIGHUP", () => proxy.reset());
process.stdout.write(`port ${proxy.port}\n`);
