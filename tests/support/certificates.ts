/** Certificates made with openssl, once a day: a good one, and one for each way to be wrong. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Certificate {
  cert: string;
  key: string;
  certFile: string;
  keyFile: string;
}

export interface Certificates {
  /** The authority's certificate, in PEM. */
  ca: string;
  caFile: string;
  /** For localhost and 127.0.0.1. */
  server: Certificate;
  /** For elsewhere.example. */
  wrongName: Certificate;
  selfSigned: Certificate;
  /** Valid through 2020. */
  expired: Certificate;
  /** Valid from 2049. */
  notYet: Certificate;
  /** For localhost, from an authority nobody knows. */
  unknown: Certificate;
  client: Certificate;
}

const here = "DNS:localhost,IP:127.0.0.1";
const config = `
[ca]
default_ca = c
[c]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = p
copy_extensions = copy
unique_subject = no
[p]
commonName = supplied
`;

const folder = join(import.meta.dirname!, "..", "..", "node_modules", ".mqtt3c-certificates");
let loaded: Certificates | undefined;

export function certificates(): Certificates {
  return loaded ??= load();
}

function load(): Certificates {
  // The one that was added last: a folder of an earlier version is made anew.
  const fresh = existsSync(join(folder, "notYet.crt")) && Date.now() - statSync(folder).mtimeMs < 24 * 3_600_000;
  if (!fresh) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(join(folder, ".."), { recursive: true });
    const dir = mkdtempSync(`${folder}-`);
    try {
      make(dir);
      renameSync(dir, folder);
    } catch (error) {
      rmSync(dir, { recursive: true, force: true });
      if (!existsSync(folder)) throw error; // else another process was faster
    }
  }
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  const pair = (name: string): Certificate => ({
    cert: read(`${name}.crt`),
    key: read(`${name}.key`),
    certFile: join(folder, `${name}.crt`),
    keyFile: join(folder, `${name}.key`),
  });
  return {
    ca: read("ca.crt"),
    caFile: join(folder, "ca.crt"),
    server: pair("server"),
    wrongName: pair("wrongName"),
    selfSigned: pair("selfSigned"),
    expired: pair("expired"),
    notYet: pair("notYet"),
    unknown: pair("unknown"),
    client: pair("client"),
  };
}

function make(dir: string): void {
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
  const request = (name: string, subject: string, ...rest: string[]) =>
    // deno-fmt-ignore
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
      "-subj", `/CN=${subject}`, "-keyout", `${name}.key`, ...rest);
  const root = (name: string, subject: string, names?: string) =>
    request(
      name,
      subject,
      "-x509",
      "-days",
      "30",
      "-out",
      `${name}.crt`,
      ...names ? ["-addext", `subjectAltName=${names}`] : [],
    );
  /** `openssl ca` rather than `x509`: in openssl 3.0 only it can set the dates. */
  const sign = (ca: string, name: string, names: string, usage: string, start?: string, end?: string) => {
    writeFileSync(
      join(dir, "names.cnf"),
      `[x]\nsubjectAltName=${names}\nextendedKeyUsage=${usage}\nbasicConstraints=critical,CA:FALSE\n`,
    );
    request(name, names.split(/[:,]/)[1]!, "-out", `${name}.csr`);
    // deno-fmt-ignore
    openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", `${ca}.crt`, "-keyfile", `${ca}.key`,
      "-in", `${name}.csr`, "-out", `${name}.crt`, "-extfile", "names.cnf", "-extensions", "x",
      ...start && end ? ["-startdate", start, "-enddate", end] : ["-days", "30"]);
  };

  writeFileSync(join(dir, "ca.cnf"), config);
  writeFileSync(join(dir, "index"), "");
  writeFileSync(join(dir, "serial"), "1000\n");
  root("ca", "mqtt3c tests");
  root("other", "nobody");
  root("selfSigned", "localhost", here);
  sign("ca", "server", here, "serverAuth");
  sign("ca", "wrongName", "DNS:elsewhere.example", "serverAuth");
  sign("ca", "expired", here, "serverAuth", "20200101000000Z", "20201231000000Z");
  sign("ca", "notYet", here, "serverAuth", "20490101000000Z", "20491231000000Z");
  sign("other", "unknown", here, "serverAuth");
  sign("ca", "client", "DNS:client", "clientAuth");
}
