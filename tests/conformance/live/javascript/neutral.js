// The neutral encoding, seen from JavaScript; tests/conformance/live/neutral.py is its twin and says what it means.

const LONG = 2000;

// An answer that is in the neutral form already.
export class Ready {
  constructor(answer) {
    this.answer = answer;
  }
}

export function encode(value) {
  if (value instanceof Ready) return value.answer;
  return new Encoder().any(value);
}

class Encoder {
  seen = new Map();

  any(value) {
    switch (typeof value) {
      case "undefined":
        return null;
      case "boolean":
        return value;
      case "string":
        return value.length > LONG ? { $long: [value.length, value.slice(0, 8)] } : value;
      case "number":
        return Number.isSafeInteger(value) ? value + 0 : { $float: String(value) };
      case "bigint":
        return { $bigint: String(value) };
      case "function":
        return { $function: true };
    }
    if (value === null) return null;
    if (value instanceof Date) return { $date: value.getTime() };
    if (value instanceof ArrayBuffer) return bytes(new Uint8Array(value));
    if (ArrayBuffer.isView(value)) return bytes(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    if (value instanceof Error) return { $exception: `${value.name}: ${value.message}` };
    if (this.seen.has(value)) return { $same: this.seen.get(value) };
    this.seen.set(value, this.seen.size);
    if (Array.isArray(value)) return value.map((each) => this.any(each));
    if (value instanceof Set) return { $set: [...value].map((each) => this.any(each)) };
    const entries = value instanceof Map ? [...value] : Object.entries(value);
    return { $dict: entries.map(([key, each]) => [key, this.any(each)]) };
  }
}

function bytes(view) {
  if (view.length > LONG) return { $long: [view.length, "bytes"] };
  return { $bytes: Array.from(view, (byte) => byte.toString(16).padStart(2, "0")).join("") };
}

export function encodeError(error) {
  if (!(error instanceof Error)) return { $error: { name: "not an Error", message: String(error), flags: [] } };
  const flags = ["remote", "retryable", "overloaded", "durableObjectReset"].filter((flag) => error[flag]);
  return { $error: { name: error.name, message: error.message, flags } };
}

export function decode(encoded) {
  if (encoded === null || typeof encoded !== "object") return encoded;
  if (Array.isArray(encoded)) return encoded.map(decode);
  const [[tag, content]] = Object.entries(encoded);
  switch (tag) {
    case "$dict":
      return Object.fromEntries(content.map(([key, value]) => [key, decode(value)]));
    case "$set":
      return new Set(content.map(decode));
    case "$bytes":
      return Uint8Array.from(content.match(/../g) ?? [], (pair) => parseInt(pair, 16));
    case "$date":
      return new Date(content);
    case "$float":
      return Number(content);
    case "$bigint":
      return BigInt(content);
    case "$exception":
      return new Error(content);
    case "$repeat":
      return content[0].repeat(content[1]);
    case "$twice": {
      const shared = decode(content);
      return [shared, { other: shared }];
    }
    case "$cycle": {
      const cycle = [decode(content)];
      cycle.push(cycle);
      return cycle;
    }
    case "$function":
      return () => 1;
  }
  throw new Error(`unknown tag ${tag}`);
}
