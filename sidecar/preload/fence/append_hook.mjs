// Runs that write without coming to their controller's check. The gateway puts that check around the events of an
// agent's session; where the agent has no more the method that this is done by (2026.5.22 to 5.27, with pi 0.75.4 and
// 0.75.5), the run appends as it likes, and each of its records sets the fence anew. A co-tenant's record would end
// beside the line of history: nobody would be there to teach it to the run.
//
// There the last moment to do so is the run's own append. It is synchronous, so nothing can be asked: what the sidecar
// has approved by then is taken in, and anything else is as it is without us. No fence is moved here.
import { safely } from "../guard.mjs";

const GUARDED = "__openclawSessionEventWriteLockInstalled"; // the gateway's own mark on a session with its check
const WATCHED = Symbol("openclaw-sidecar.append");

/** The events of this session come to the controller's check. */
export function isGuarded(session) {
  return session?.[GUARDED] === true;
}

/** Have `learn(manager)` called ahead of each entry that continues the line; a record learnt there is its parent. */
export function beforeEntries(manager, learn) {
  const original = manager?._appendEntry;
  if (typeof original !== "function" || Object.hasOwn(original, WATCHED)) return;
  const watched = function _appendEntry(entry, ...rest) {
    safely("append", () => {
      if (!continues(this, entry)) return;
      const { leafId } = this;
      learn(this);
      if (this.leafId !== leafId) entry.parentId = this.leafId;
    });
    return original.call(this, entry, ...rest);
  };
  manager._appendEntry = Object.defineProperty(watched, WATCHED, { value: true });
}

/** Not so for a branch that is made on purpose: its first entry leaves the last one beside the line. */
function continues({ fileEntries, leafId }, entry) {
  const last = fileEntries.at(-1);
  const tip = last === undefined || last.type === "session" ? null : last.id;
  return (leafId ?? null) === tip && (entry.parentId ?? null) === tip;
}
