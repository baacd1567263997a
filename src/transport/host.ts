/** A host, by its name or its address.
 * @module */

export type Host = { host: string; port: number };

/** Which kind of address it is, 4 or 6; 0 for a name. It comes from a URL, which has checked it. */
export function ipVersion(host: string): 0 | 4 | 6 {
  if (host.includes(":")) return 6;
  return /^\d+(\.\d+){3}$/.test(host) ? 4 : 0;
}

/** Host and port, as a URL has them. */
export function authorityOf({ host, port }: Host): string {
  return `${ipVersion(host) === 6 ? `[${host}]` : host}:${port}`;
}
