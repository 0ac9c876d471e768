// COMMAND of `openclaw-sidecar write`: makes one change to the file that it is given; with a time, after so many ms.
import { OPERATIONS } from "./operations.mjs";

const [operation, delay] = process.argv.slice(2);
if (delay) await new Promise((resolve) => setTimeout(resolve, Number(delay)));
OPERATIONS[operation](process.env.OPENCLAW_SIDECAR_SESSION_FILE);
