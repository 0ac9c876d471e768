// Cuts, from the modules of an OpenClaw bundle, the top-level declarations that some functions need, and nothing else.
//
// A module of the bundle imports half of the bundle and npm packages that `npm pack` does not bring. What is wanted from
// it needs little of that. So the declarations are walked by the identifiers in them, across modules, and each module
// is later loaded with the reached declarations alone: unchanged, in their order, under the module's own URL.
import fs from "node:fs";
import { isBuiltin } from "node:module";
import path from "node:path";

const DECLARATION = /^(?:export )?(?:(?:async )?function\*? ([\w$]+)|class ([\w$]+)|(?:const|let|var) )/;
const NAMES = /[A-Za-z_$][\w$]*/g;
const QUIET = /\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|^\s*\/\/.*$/gm;

class Module {
  constructor(file) {
    this.file = file;
    this.imports = new Map(); // local name -> {from, name}; name is "default", "*" or what the other exports
    this.exports = new Map(); // exported name -> local name
    this.declarations = []; // {names, text}, in order
    this.declared = new Map(); // name -> declaration
    this.needed = new Set(); // local names
    this.roots = new Set(); // local names that are asked for from outside the bundle
    this.#split(fs.readFileSync(file, "utf8"));
  }

  #split(source) {
    let block = [];
    const flush = () => {
      if (block.length > 0) this.#take(block.join("\n"));
      block = [];
    };
    for (const line of source.split("\n")) {
      const starts = /^[A-Za-z_$(;[]/.test(line) || line.startsWith("//#");
      if (starts) flush();
      block.push(line);
    }
    flush();
  }

  #take(text) {
    if (text.startsWith("import ")) this.#takeImport(text);
    else if (/^export \{/.test(text)) this.#takeExport(text);
    else if (DECLARATION.test(text)) {
      const exported = text.startsWith("export ");
      const own = exported ? text.slice("export ".length) : text;
      const declaration = { names: namesDeclared(own), text: own };
      this.declarations.push(declaration);
      for (const name of declaration.names) {
        this.declared.set(name, declaration);
        if (exported) this.exports.set(name, name);
      }
    }
  }

  #takeImport(text) {
    const match = /^import ([\s\S]+?) from "([^"]+)"/.exec(text);
    if (!match) return;
    const [, what, from] = match;
    const braces = /\{([\s\S]*)\}/.exec(what);
    for (const [name, local] of renames(braces?.[1] ?? "")) this.imports.set(local, { from, name });
    const star = /\* as ([\w$]+)/.exec(what);
    if (star) this.imports.set(star[1], { from, name: "*" });
    const single = /^([\w$]+)/.exec(what);
    if (single) this.imports.set(single[1], { from, name: "default" });
  }

  #takeExport(text) {
    const [, list, from] = /^export \{([\s\S]*?)\}(?: from "([^"]+)")?/.exec(text);
    for (const [local, exported] of renames(list)) {
      this.exports.set(exported, local);
      if (from) this.imports.set(local, { from, name: local });
    }
  }
}

/** `a as b, c` as [[a, b], [c, c]]. */
function renames(list) {
  return list
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean)
    .map((item) => item.split(" as "))
    .map(([name, other]) => [name, other ?? name]);
}

function namesDeclared(text) {
  const [, fn, cls] = DECLARATION.exec(text);
  if (fn ?? cls) return [fn ?? cls];
  const list = text.replace(/^(?:const|let|var) /, "");
  if (/^[{[]/.test(list)) return list.slice(0, list.indexOf("=")).match(NAMES);
  // `let a, b = 2;` in one statement; what has brackets of any kind declares one name.
  const items = /[([{`]/.test(list) ? [list] : list.split(",");
  return items.map((item) => /^\s*([\w$]+)/.exec(item)?.[1]).filter(Boolean);
}

/** Identifiers that may mean a binding: no properties, nothing in quotes or comments. */
function identifiers(text) {
  const plain = text.replace(QUIET, "").replace(/(?<!\.\.)\.[A-Za-z_$#][\w$]*/g, "");
  return new Set(plain.match(NAMES));
}

export class Cut {
  #modules = new Map();
  /** What npm packages would have given: a stand-in takes its place. */
  stubbed = new Set();

  module(file) {
    if (!this.#modules.has(file)) this.#modules.set(file, new Module(file));
    return this.#modules.get(file);
  }

  has(file) {
    return this.#modules.has(file) && this.#modules.get(file).needed.size > 0;
  }

  get size() {
    return [...this.#modules.values()].reduce((sum, module) => sum + module.needed.size, 0);
  }

  get files() {
    return [...this.#modules.keys()];
  }

  /** Have a name that a module declares, with all that it needs; exported under its own name. */
  root(file, local) {
    this.module(file).roots.add(local);
    this.#want(file, local);
  }

  #want(file, local) {
    const module = this.module(file);
    if (module.needed.has(local)) return;
    const declaration = module.declared.get(local);
    const imported = module.imports.get(local);
    if (!declaration && !imported) return;
    module.needed.add(local);
    if (declaration) {
      for (const name of declaration.names) module.needed.add(name);
      for (const name of identifiers(declaration.text)) this.#want(file, name);
      return;
    }
    if (!imported.from.startsWith(".")) return;
    const other = path.resolve(path.dirname(file), imported.from);
    const names = imported.name === "*" ? [...this.module(other).exports.keys()] : [imported.name];
    for (const name of names) this.#want(other, this.module(other).exports.get(name));
  }

  /** The source of a module with nothing but what was wanted; roots are exported under their own names too. */
  source(file) {
    const module = this.module(file);
    const lines = [];
    for (const local of module.needed) {
      const imported = module.imports.get(local);
      if (imported && !module.declared.has(local)) lines.push(this.#importing(local, imported));
    }
    for (const { names, text } of module.declarations) if (names.some((n) => module.needed.has(n))) lines.push(text);
    const exported = new Map([...module.exports].filter(([, local]) => module.needed.has(local)));
    for (const local of module.roots) if (!exported.has(local)) exported.set(local, local);
    lines.push(`export { ${[...exported].map(([name, local]) => `${local} as ${name}`).join(", ")} };`);
    return lines.join("\n");
  }

  #importing(local, { from, name }) {
    if (from.startsWith(".") || isBuiltin(from)) {
      const clause = name === "*" ? `* as ${local}` : name === "default" ? local : `{ ${name} as ${local} }`;
      return `import ${clause} from ${JSON.stringify(from)};`;
    }
    this.stubbed.add(`${local} (${from})`);
    return `const ${local} = globalThis[Symbol.for("compat.stub")](${JSON.stringify(local)});`;
  }
}
