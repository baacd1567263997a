/** What the trace hears of a transport that carries nothing. */
import type { Trace } from "../../mod.ts";
import { traceDial } from "../../src/transport/trace.ts";
import type { Sink, Transport } from "../../src/transport/transport.ts";

/** A transport that carries nothing, for its two taps. */
export async function taps(trace: Trace): Promise<{ send(bytes: Uint8Array): void; receive(bytes: Uint8Array): void }> {
  let tap: Sink | undefined;
  const bare: Transport = {
    sock: undefined,
    trusted: false,
    start: (sink) => tap = sink,
    write: () => true,
    resume: () => {},
    end: () => {},
    close: () => {},
  };
  const transport = await traceDial(() => Promise.resolve(bare), trace)(new AbortController().signal);
  transport.start({ space: () => new Uint8Array(1), received: () => true, written: () => {}, closed: () => {} });
  return {
    send: (bytes) => transport.write(bytes),
    receive: (bytes) => void tap!.received(bytes, bytes.length),
  };
}
