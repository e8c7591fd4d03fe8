// The benchmark's work for workerd and wrangler; tests/benchmarks/worker/entry.py is its twin, line for line.
import { DurableObject } from "cloudflare:workers";

export class Counter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.seen = 0;
  }

  async memory() {
    this.seen += 1;
    return this.seen;
  }

  async read() {
    return (await this.ctx.storage.get("count")) ?? 0;
  }

  async increment() {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + 1;
    await this.ctx.storage.put("count", count);
    return count;
  }

  async echo(value) {
    return value;
  }

  async calls(name, times) {
    const other = this.env.COUNTER.getByName(`${name}-other`);
    let last = 0;
    for (let call = 0; call < times; call++) last = (await other.echo({ call, label: "copied" })).call;
    return last + 1;
  }

  async chain(name, depth) {
    if (depth === 0) return await this.read();
    return await this.env.COUNTER.getByName(`${name}-${depth - 1}`).chain(name, depth - 1);
  }

  async aggregateReads(name) {
    const parts = [0, 1, 2, 3].map((part) => this.env.COUNTER.getByName(`${name}-part${part}`).read());
    return (await Promise.all(parts)).length;
  }

  async aggregateIncrements(name) {
    const parts = [0, 1, 2, 3].map((part) => this.env.COUNTER.getByName(`${name}-part${part}`).increment());
    return (await Promise.all(parts)).length;
  }
}

export default {
  async fetch(request, env) {
    const [, work, name, depth] = new URL(request.url).pathname.split("/");
    if (work === "hello") return new Response("hello");
    const counter = env.COUNTER.getByName(work === "chain" ? `${name}-${depth}` : name);
    switch (work) {
      case "memory":
        return Response.json({ count: await counter.memory() });
      case "read":
        return Response.json({ count: await counter.read() });
      case "increment":
        return Response.json({ count: await counter.increment() });
      case "calls":
        return Response.json({ count: await counter.calls(name, Number(depth)) });
      case "chain":
        return Response.json({ count: await counter.chain(name, Number(depth)) });
      case "aggregate-reads":
        return Response.json({ count: await counter.aggregateReads(name) });
      case "aggregate-increments":
        return Response.json({ count: await counter.aggregateIncrements(name) });
    }
    return new Response("no such work", { status: 404 });
  },
};
