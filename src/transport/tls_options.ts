/** TLS as the application asks for it, and what the runtime is given: the same everywhere, or an error.
 * @module */

import type { SecureContext } from "node:tls";
import { UnusableError } from "../errors.ts";

/** TLS as the application asks for it. What a runtime cannot do is a `TypeError`. */
export interface TlsOptions {
  /** The certificates that are trusted instead of the runtime's own, as PEM. */
  ca?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined;
  /** The client's certificate, followed by those up to its authority if there are more, as PEM; with `key`. */
  cert?: string | Uint8Array | undefined;
  /** The client's private key, as PEM; with `cert`. */
  key?: string | Uint8Array | undefined;
  /** What opens `key` or `pfx` when it is encrypted. */
  passphrase?: string | undefined;
  /** The client's certificate and private key in one, the bytes of a PKCS#12 file; instead of `cert` and `key`. */
  pfx?: Uint8Array | undefined;
  /** The name the certificate must be valid for; the broker's host by default. */
  servername?: string | undefined;
  /** Application protocols to offer (RFC 7301), for example `["mqtt"]`. */
  alpn?: readonly string[] | undefined;
  /** The lowest version of TLS that is spoken; the runtime's own by default. */
  minVersion?: "TLSv1.2" | "TLSv1.3" | undefined;
  /**
   * The cipher suites to offer, as OpenSSL names them, with `:` between them; the runtime's own by default. Deno
   * cannot choose them, and Bun only those of TLS 1.2.
   */
  ciphers?: string | undefined;
  /** `"reject"` refuses every server that is not trusted; by default those who ask for credentials are. */
  untrusted?: "reject" | undefined;
}

const CERTIFICATE = /-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----.*?-----END \1-----/gs;
const PRIVATE_KEY = /-----BEGIN ((?:\w+ )*PRIVATE KEY)-----.*?-----END \1-----/s;

/**
 * Makes of the options what connections are secured with. All is looked at here, before there is a connection:
 * left to themselves, runtimes pass over a key that they cannot read or that is another certificate's (Deno, and
 * Node if the two are of different kinds), and connect without the client's certificate.
 *
 * @throws {UnusableError} `"tls"` which names what cannot be used.
 */
export async function makeContext(options: TlsOptions): Promise<SecureContext> {
  const [{ createSecureContext }, { createPrivateKey, X509Certificate }, { Buffer }] = await Promise.all([
    import("node:tls"),
    import("node:crypto"),
    import("node:buffer"),
  ]);
  const { ca, cert, key, pfx, passphrase, minVersion, ciphers } = options;

  /** The certificates of a PEM text, each of which can be read. */
  function certificates(pem: string | Uint8Array, what: string) {
    const list = plainText(pem).match(CERTIFICATE) ?? [];
    if (list.length === 0) throw unusable(what, "there is no whole certificate in it");
    return list.map((text) => {
      return { text, certificate: attempt(what, "it cannot be read", () => new X509Certificate(text)) };
    });
  }

  /** The chain, and the key without its encryption, which not every runtime opens itself. */
  function identity(cert: string | Uint8Array, key: string | Uint8Array) {
    const chain = certificates(cert, "tls.cert");
    const [pem = ""] = PRIVATE_KEY.exec(plainText(key)) ?? [];
    if (pem === "") throw unusable("tls.key", "there is no whole private key in it");
    const problem = !pem.includes("ENCRYPTED")
      ? "it cannot be read"
      : passphrase === undefined
      ? "it is encrypted: give tls.passphrase"
      : "tls.passphrase does not open it";
    const own = attempt("tls.key", problem, () => createPrivateKey({ key: pem, passphrase }));
    const fits = attempt("tls.key", "it cannot be compared", () => chain[0]!.certificate.checkPrivateKey(own));
    if (!fits) throw unusable("tls.key", "it is not the key of the first certificate in tls.cert");
    return {
      cert: chain.map(({ text }) => text).join("\n"),
      key: own.export({ type: "pkcs8", format: "pem" }),
    };
  }

  const authorities = ca === undefined
    ? undefined
    : [ca].flat().flatMap((pem) => certificates(pem, "tls.ca").map(({ text }) => text));
  const client = cert !== undefined && key !== undefined
    ? identity(cert, key)
    : { pfx: pfx && Buffer.from(pfx), passphrase };
  const what = pfx !== undefined ? "tls.pfx" : ciphers !== undefined ? "tls.ciphers" : "the tls options";
  return attempt(
    what,
    pfx && "it cannot be read, or tls.passphrase does not open it",
    () => createSecureContext({ ca: authorities, minVersion, ciphers, ...client }),
  );
}

/** PEM as every runtime reads it: without a byte order mark, and each line from its first letter. */
function plainText(pem: string | Uint8Array): string {
  const text = typeof pem === "string" ? pem : new TextDecoder().decode(pem);
  return text.replace(/^\uFEFF/, "").replaceAll(/^[ \t]+|[ \t\r]+$/gm, "");
}

function attempt<T>(what: string, problem: string | undefined, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    throw unusable(what, problem ?? (cause as Error).message, cause);
  }
}

function unusable(what: string, problem: string, cause?: unknown): UnusableError {
  return new UnusableError("tls", `Cannot use ${what}: ${problem}; nothing was sent`, cause);
}
