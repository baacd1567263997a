/** Why there is no connection, for people to read.
 * @module */

import { MqttError } from "../errors.ts";
import { isDeno } from "../runtime.ts";
import { authorityOf, type Host } from "./host.ts";

/** The error of a host to which there is no connection; the cause is the runtime's, if it had one. */
export function unreached(to: Host, cause: NodeJS.ErrnoException | undefined): MqttError {
  const { host, port } = to;
  if (isUnknown(cause) && !isDenied(cause)) {
    return new MqttError("cannotresolve", `Cannot resolve the host name "${host}"`, cause);
  }
  const why = isDenied(cause)
    ? `permission is missing: run with --allow-net=${authorityOf(to)}`
    : "is a server running there?";
  return new MqttError("cannotconnect", `Cannot connect to ${host}, port ${port}: ${why}`, cause);
}

/** Whether there is no such name; `Deno.connect` has no code for it. */
function isUnknown(cause: NodeJS.ErrnoException | undefined): boolean {
  if (cause === undefined) return false;
  const { code, syscall, message } = cause;
  return code === "ENOTFOUND" || code?.startsWith("EAI_") || syscall === "getaddrinfo" ||
    message.startsWith("failed to lookup address");
}

/** What the errors of a Unix socket mean. */
const SOCKET_ERRORS: Record<string, string> = {
  ENOENT: "there is no such file: is a server running?",
  ECONNREFUSED: "no server listens there: has it ended without removing the file?",
  EACCES: "the file's permissions do not let this user write to it",
  EPERM: "the file's permissions do not let this user write to it",
  ENOTSOCK: "the file is no socket",
  EINVAL: "the system has no sockets with such a path: is it too long?",
};

/** The error of a Unix socket to which there is no connection. */
export function noSocket(path: string, cause: NodeJS.ErrnoException | undefined): MqttError {
  const why = isDenied(cause)
    ? `permission is missing: run with --allow-read=${path} --allow-write=${path}`
    : SOCKET_ERRORS[cause?.code ?? ""] ?? cause?.message ?? "it was closed";
  return new MqttError("cannotconnect", `Cannot connect to the Unix socket ${path}: ${why}`, cause);
}

/** Whether Deno lacks the permission; it says so with a code of its own for names, and with a class for addresses. */
function isDenied(cause: NodeJS.ErrnoException | undefined): boolean {
  if (cause === undefined || !isDeno) return false;
  const { name, code, syscall } = cause;
  return name === "NotCapable" || name === "PermissionDenied" || code === "EPERM" && syscall === "getaddrinfo";
}
