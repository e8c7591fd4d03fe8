// The driver of the live comparison for workerd; tests/conformance/live/worker/entry.py is its twin, line for line.
import { DurableObject } from "cloudflare:workers";
import { Ready, decode, encode, encodeError } from "./neutral.js";

class Planned extends Error {
  name = "Planned";
}

export class Other extends DurableObject {}

export class Driver extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.targets = { storage: ctx.storage, kv: ctx.storage.kv, sql: ctx.storage.sql };
    this.cursors = {};
    this.iterators = {};
  }

  async run(text) {
    const answers = [];
    await this.perform(JSON.parse(text), answers);
    return JSON.stringify(answers);
  }

  async alarm() {}

  async perform(operations, answers) {
    for (const operation of operations) {
      try {
        answers.push(encode(await this.one(operation)));
      } catch (error) {
        answers.push(encodeError(error));
      }
    }
  }

  performSync(operations, answers) {
    for (const operation of operations) {
      try {
        answers.push(encode(this.oneSync(operation)));
      } catch (error) {
        answers.push(encodeError(error));
      }
    }
  }

  async one([kind, ...given]) {
    switch (kind) {
      case "call":
        return await this.call(given);
      case "transaction":
        return await this.transaction(given);
      case "turn":
        return await new Promise((resolve) => setTimeout(resolve, 0));
      default:
        return this.oneSync([kind, ...given]);
    }
  }

  oneSync([kind, ...given]) {
    switch (kind) {
      case "unawaited":
        return void this.call(given);
      case "call_sync":
        return this.call(given);
      case "exec":
        return this.exec(given);
      case "open":
        return this.open(given);
      case "read":
        return this.read(given);
      case "list":
        return this.list(given);
      case "step":
        return this.step(given);
      case "size":
        return this.ctx.storage.sql.databaseSize;
      case "sync_transaction":
        return this.syncTransaction(given);
      case "past_alarm":
        return this.pastAlarm(given);
      case "ids":
        return this.ids(given);
      case "abort":
        this.ctx.abort(given[0]);
    }
    throw new Error(`unknown operation ${kind}`);
  }

  call([target, method, positional]) {
    if (this.targets[target] === undefined) return "no target";
    return this.targets[target][method](...positional.map(decode));
  }

  exec([query, bindings, way]) {
    const cursor = this.ctx.storage.sql.exec(query, ...bindings.map(decode));
    switch (way) {
      case "one":
        return [cursor.one(), cursor.columnNames];
      case "raw":
        return [cursor.raw().toArray(), cursor.columnNames];
      case "next":
        return [stepOf(cursor.next()), cursor.toArray(), stepOf(cursor.next())];
      case "counts": {
        const rows = cursor.toArray().length;
        return [rows, cursor.rowsRead, cursor.rowsWritten];
      }
    }
    return [cursor.toArray(), cursor.columnNames];
  }

  open([slot, query, bindings]) {
    this.cursors[slot] = this.ctx.storage.sql.exec(query, ...bindings.map(decode));
    return this.cursors[slot].columnNames;
  }

  read([slot, way]) {
    const cursor = this.cursors[slot];
    if (cursor === undefined) return "no cursor";
    switch (way) {
      case "next":
        return stepOf(cursor.next());
      case "raw_next":
        return stepOf(cursor.raw().next());
      case "one":
        return cursor.one();
      case "raw":
        return cursor.raw().toArray();
      case "names":
        return cursor.columnNames;
    }
    return cursor.toArray();
  }

  list([slot, options]) {
    this.iterators[slot] = this.ctx.storage.kv.list(decode(options))[Symbol.iterator]();
    return null;
  }

  step([slot, count]) {
    const iterator = this.iterators[slot];
    if (iterator === undefined) return "no iterator";
    const pairs = [];
    while (pairs.length < count) {
      const { done, value } = iterator.next();
      if (done) return [...pairs, "done"];
      pairs.push(value);
    }
    return pairs;
  }

  syncTransaction([operations, ending]) {
    const inner = [];
    let outcome;
    try {
      outcome = encode(
        this.ctx.storage.transactionSync(() => {
          this.performSync(operations, inner);
          if (ending === "throw") throw new Planned("planned");
          return inner.length;
        }),
      );
    } catch (error) {
      outcome = encodeError(error);
    }
    return new Ready([inner, outcome]);
  }

  async transaction([operations, ending]) {
    const inner = [];
    let outcome;
    const outer = this.targets.txn;
    try {
      outcome = encode(
        await this.ctx.storage.transaction(async (txn) => {
          this.targets.txn = txn;
          await this.perform(operations, inner);
          this.targets.txn = txn;
          if (ending === "throw") throw new Planned("planned");
          return inner.length;
        }),
      );
    } catch (error) {
      outcome = encodeError(error);
    }
    this.targets.txn = outer ?? this.targets.txn;
    return new Ready([inner, outcome]);
  }

  pastAlarm([due]) {
    const before = Date.now();
    this.ctx.storage.setAlarm(decode(due));
    const alarm = this.ctx.storage.getAlarm();
    this.ctx.storage.deleteAlarm();
    return before > 0 && alarm !== null;
  }

  ids([method, positional]) {
    const namespace = this.env.DRIVER;
    switch (method) {
      case "own":
        return [this.ctx.id.toString(), this.ctx.id.name];
      case "unique": {
        const [first, second] = [namespace.newUniqueId(), namespace.newUniqueId()];
        return [first.toString().length, first.equals(second), first.equals(first), first.name];
      }
      case "round_trip": {
        const id = namespace.idFromName(positional[0]);
        const again = namespace.idFromString(id.toString().toUpperCase());
        return [id.toString(), id.name, again.toString(), again.name, id.equals(again), again.jurisdiction];
      }
      case "foreign":
        return namespace.idFromString(this.env.OTHER.idFromName(positional[0]).toString()).toString();
      case "equal":
        return namespace.idFromName(positional[0]).equals(namespace.idFromName(positional[1]));
      case "stub": {
        const stub = namespace.get(namespace.idFromName(positional[0]), decode(positional[1]));
        return [stub.id.toString(), stub.name];
      }
      case "jurisdiction":
        return namespace.newUniqueId({ jurisdiction: positional[0] }).toString().length;
    }
    return namespace[method](...positional.map(decode)).toString();
  }
}

function stepOf({ done, value }) {
  return done ? "done" : [value];
}

async function sequence(env, { name, events }) {
  const answers = [];
  for (const operations of events) {
    try {
      answers.push(JSON.parse(await env.DRIVER.getByName(name).run(JSON.stringify(operations))));
    } catch (error) {
      answers.push(encodeError(error));
    }
  }
  return answers;
}

export default {
  async fetch(request, env) {
    if (request.method === "GET") return new Response("hello");
    const sequences = await request.json();
    return Response.json(await Promise.all(sequences.map((each) => sequence(env, each))));
  },
};
