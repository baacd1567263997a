/** An `onpub` module of which every thousandth call throws, and the one after that rejects. */
let calls = 0;

export default function fails(): Promise<void> | undefined {
  const call = calls++ % 1000;
  if (call === 0) throw new RangeError("thrown");
  if (call === 1) return Promise.reject(new RangeError("rejected"));
  return call % 2 === 0 ? Promise.resolve() : undefined;
}
