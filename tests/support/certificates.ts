/** Certificates made with openssl, once a process: a good one, and one for each way to be wrong. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
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

let made: Certificates | undefined;

export function certificates(): Certificates {
  return made ??= make();
}

function make(): Certificates {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-certificates-"));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
  const read = (file: string) => readFileSync(join(dir, file), "utf8");
  const file = (name: string): Certificate => ({
    cert: read(`${name}.crt`),
    key: read(`${name}.key`),
    certFile: join(dir, `${name}.crt`),
    keyFile: join(dir, `${name}.key`),
  });

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
    return file(name);
  };

  writeFileSync(join(dir, "ca.cnf"), config);
  writeFileSync(join(dir, "index"), "");
  writeFileSync(join(dir, "serial"), "1000\n");
  root("ca", "mqtt3c tests");
  root("other", "nobody");
  root("selfSigned", "localhost", here);
  return {
    ca: read("ca.crt"),
    caFile: join(dir, "ca.crt"),
    server: sign("ca", "server", here, "serverAuth"),
    wrongName: sign("ca", "wrongName", "DNS:elsewhere.example", "serverAuth"),
    selfSigned: file("selfSigned"),
    expired: sign("ca", "expired", here, "serverAuth", "20200101000000Z", "20201231000000Z"),
    unknown: sign("other", "unknown", here, "serverAuth"),
    client: sign("ca", "client", "DNS:client", "clientAuth"),
  };
}
