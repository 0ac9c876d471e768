// What SQLite's session extension recorded of a table: which of its rows were inserted, updated or deleted.
// The format is SQLite's own (sqlite.org/sessionintro.html, "changeset"): a table header, then one entry for each row.
const INSERT = 18;
const DELETE = 9;
const UPDATE = 23;

const INTEGER = 1;
const REAL = 2;
const TEXT = 3;
const BLOB = 4;

/**
 * The keys of the changed rows of one table whose first two columns are its key (text, integer).
 * @param {Uint8Array} changeset of one table; may be empty.
 * @returns {{session: string, seq: number, deleted: boolean}[]} in no particular order.
 * @throws {RangeError} where the bytes are no changeset of that form.
 */
export function changedKeys(changeset) {
  const bytes = Buffer.from(changeset.buffer, changeset.byteOffset, changeset.byteLength);
  const keys = [];
  let at = 0;
  let columns = 0;

  function number() {
    let value = 0;
    for (let count = 0; count < 9; count += 1) {
      const byte = bytes.readUInt8(at);
      at += 1;
      value = value * 128 + (byte & 0x7f);
      if (byte < 0x80) return value;
    }
    throw new RangeError("a number is too long");
  }

  function value(wanted) {
    const type = bytes.readUInt8(at);
    at += 1;
    if (type === INTEGER || type === REAL) {
      at += 8;
      return wanted && type === INTEGER ? Number(bytes.readBigInt64BE(at - 8)) : undefined;
    }
    if (type !== TEXT && type !== BLOB) return undefined; // NULL, or not part of the entry
    const length = number();
    at += length;
    if (at > bytes.length) throw new RangeError("a value is cut off");
    return wanted && type === TEXT ? bytes.toString("utf8", at - length, at) : undefined;
  }

  function record() {
    const key = [value(true), value(true)];
    for (let column = 2; column < columns; column += 1) value(false);
    return key;
  }

  while (at < bytes.length) {
    if (bytes[at] === 0x54) {
      at += 1;
      columns = number();
      at = bytes.indexOf(0, at + columns) + 1;
      if (at === 0 || columns < 2) throw new RangeError("a table header is cut off");
      continue;
    }
    const operation = bytes.readUInt8(at);
    at += 2; // the operation, and whether a trigger or a foreign key caused it
    if (![INSERT, DELETE, UPDATE].includes(operation)) throw new RangeError("an unknown entry");
    const [session, seq] = record();
    if (operation === UPDATE) record();
    if (typeof session !== "string" || !Number.isSafeInteger(seq)) throw new RangeError("a key of another form");
    keys.push({ session, seq, deleted: operation === DELETE });
  }
  return keys;
}
