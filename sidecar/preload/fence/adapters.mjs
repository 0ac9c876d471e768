// One adapter for each generation of the fence. Each moves the fence of one controller from exactly F0 to exactly F1,
// and is called at the gateway's own comparison, under the session lock.
import { Refusal } from "../guard.mjs";
import { sessionPath } from "../paths.mjs";
import { isTeachable, recordsSince, reloadKeepingUnsaved, savingOf, teach, unknownTo } from "./session_manager.mjs";

/** The run's session manager, which is to be taught. */
function managerOf(state) {
  const manager = state.run?.manager?.();
  if (!isTeachable(manager, state.file, sessionPath)) throw new Refusal("the run's session manager is not known");
  return manager;
}

/**
 * Releases without a reload (2026.5.18 to 6.8): the comparison is answered with "same" for the approved step; the
 * controller records the new fingerprint itself after its next write. The run's session manager must learn the records.
 */
export const swap = {
  name: "swap",
  reload: false,
  needs: ["readSessionFileFingerprint", "sameSessionFileFingerprint"],
  adjust: (params) => params,
  prepare(state, fence, current) {
    const manager = managerOf(state);
    if (manager.flushed === false) savingOf(manager); // throws where that is not known: better refused than doubled
    const records = recordsSince(state.file, fence, current);
    return { manager, records, ids: unknownTo(manager, records).map((record) => record.id) };
  },
  apply(_state, prepared) {
    teach(prepared.manager, prepared.records);
    return true;
  },
};

/**
 * Releases with a registry of owned writes and a reload: the step is published as an owned write that needs a reload,
 * and the controller goes its own way from there.
 */
export const publish = {
  name: "publish",
  reload: true,
  needs: [
    "readSessionFileFingerprint",
    "sameSessionFileFingerprint",
    "recordOwnedSessionFileWrite",
    "resolveSessionFileFenceKey",
  ],
  /** The controller's own reload must not cost the run what it has not saved yet. */
  adjust(params, run) {
    const reload = params?.reloadPromptReleasedSessionFile;
    if (typeof reload !== "function") return params;
    return {
      ...params,
      reloadPromptReleasedSessionFile: () => {
        const manager = run?.manager?.();
        return Array.isArray(manager?.fileEntries) ? reloadKeepingUnsaved(manager, reload) : reload();
      },
    };
  },
  prepare(state, fence, current) {
    if (typeof state.params?.reloadPromptReleasedSessionFile !== "function") {
      throw new Refusal("this controller offers no reload");
    }
    managerOf(state);
    const records = recordsSince(state.file, fence, current);
    return { ids: records.filter((r) => typeof r.id === "string" && r.type !== "session").map((r) => r.id) };
  },
  apply(state, _prepared, fingerprint, points) {
    const key = points.resolveSessionFileFenceKey(state.params.lockOptions.sessionFile);
    points.recordOwnedSessionFileWrite(key, fingerprint, undefined, true);
    return false; // the controller finds the published write itself
  },
};

/** The adapter that fits the functions a bundle declares, or undefined. */
export function chooseAdapter(points, reloads) {
  const fits = (adapter) => adapter.needs.every((name) => typeof points[name] === "function");
  if (reloads && fits(publish)) return publish;
  return !reloads && fits(swap) ? swap : undefined;
}
