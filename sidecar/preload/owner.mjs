// Whose socket it is: without a key, nothing else tells the sidecar from a program that bound its path first.
import fs from "node:fs";
import path from "node:path";

const WRITABLE_BY_OTHERS = 0o022;
const SAY_UID = "if the sidecar has a user of its own, say so in OPENCLAW_SIDECAR_UID";
const MOVE = "move it to a directory that nobody else may write to, with OPENCLAW_SIDECAR_SOCKET";

/** The user that the sidecar runs as: our own, unless the environment names one. */
function sidecarUid() {
  const named = process.env.OPENCLAW_SIDECAR_UID;
  if (!named) return process.geteuid();
  return /^\d{1,10}$/.test(named) ? Number(named) : undefined;
}

/** Why a socket is not to be taken for the sidecar's; undefined for one that is. */
export function whyNotOurs(socketPath) {
  try {
    const uid = sidecarUid();
    return uid === undefined ? "OPENCLAW_SIDECAR_UID is not a number" : strange(socketPath, uid);
  } catch (error) {
    return `its owner can't be read (${String(error?.code)})`;
  }
}

function strange(socketPath, uid) {
  const directory = path.dirname(socketPath);
  const [socket, entry, opened] = [fs.lstatSync(socketPath), fs.lstatSync(directory), fs.statSync(directory)];
  if (!socket.isSocket()) return "there is no socket at its path, but a link or a file";
  if (socket.uid !== uid) return `the socket is of uid ${socket.uid}, and not of ${uid}; ${SAY_UID}`;
  if (opened.uid !== uid) return `the socket's directory is of uid ${opened.uid}, and not of ${uid}; ${SAY_UID}`;
  if (opened.mode & WRITABLE_BY_OTHERS) {
    return `others may write to the socket's directory (mode ${(opened.mode & 0o7777).toString(8)}); ${MOVE}`;
  }
  // Whoever made a link to a directory can point it elsewhere.
  if (entry.isSymbolicLink() && ![uid, process.geteuid(), 0].includes(entry.uid)) {
    return `the link to the socket's directory is of uid ${entry.uid}; ${MOVE}`;
  }
  return undefined;
}
