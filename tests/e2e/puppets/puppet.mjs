// The same as puppet.py, as a program for Node: it says and writes what it is told. `puppet.mjs SOCKET [TITLE]`
import fs from "node:fs";
import net from "node:net";
import readline from "node:readline";

const link = net.connect({ path: process.argv[2] });
if (process.argv[3]) process.title = process.argv[3];
let heard = "";
link.setEncoding("utf8");
link.on("data", (chunk) => (heard += chunk));
link.on("error", () => {});

async function obey(order) {
  switch (order.do) {
    case "say":
      return await new Promise((done) => link.write(`${order.line}\n`, (error) => done(error ? { error: error.code } : {})));
    case "append":
      fs.appendFileSync(order.file, Buffer.from(order.data, "base64"));
      return {};
    case "hear":
      return { heard };
    case "sql": {
      const { DatabaseSync } = await import("node:sqlite");
      const database = new DatabaseSync(order.database, { timeout: 10000 });
      for (const [statement, values] of order.statements) database.prepare(statement).run(...values);
      database.close();
      return {};
    }
    default:
      return { error: "unknown order" };
  }
}

link.on("connect", async () => {
  process.stdout.write(`${JSON.stringify({ pid: process.pid, parent: process.ppid, exe: process.execPath })}\n`);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const answer = await obey(JSON.parse(line)).catch((error) => ({ error: String(error) }));
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit(0);
});
