// What each side does with a list of operations; entry.py says the same in Python.
import { DurableObject } from "cloudflare:workers";

const failed = (error) => ({ error: `${error.name}: ${error.message}` });

export class Actor extends DurableObject {
  count = 0;
  stubs = {};

  async act(operations) {
    const answers = [];
    for (const [name, ...args] of operations) {
      try {
        answers.push((await this[`do_${name}`](...args)) ?? null);
      } catch (error) {
        answers.push(failed(error));
      }
    }
    return answers;
  }

  child(name) {
    return this.ctx.facets.get(name, () => ({ class: this.ctx.exports.Actor }));
  }

  async do_increment() {
    const value = ((await this.ctx.storage.get("value")) ?? 0) + 1;
    await this.ctx.storage.put("value", value);
    return value;
  }
  do_value() { return this.ctx.storage.get("value"); }
  do_seen() { return ++this.count; }
  do_end(reason) { this.ctx.abort(reason); }
  do_forget() { return this.ctx.storage.deleteAll(); }
  do_alarm() { return this.ctx.storage.getAlarm(); }
  do_in(name, operations) { return this.child(name).act(operations); }
  do_stub(variable, name) { this.stubs[variable] = this.child(name); }
  do_use(variable, operations) { return this.stubs[variable]?.act(operations); }
  do_abort(name, reason) { this.ctx.facets.abort(name, new Error(reason)); }
  do_delete(name) { this.ctx.facets.delete(name); }
  do_clone(source, target) { this.ctx.facets.clone(source, target); }
}

export default {
  async fetch(request, env) {
    if (request.method === "GET") return new Response("ready");
    const scenarios = await request.json();
    const answers = [];
    for (const { name, events } of scenarios) {
      const found = [];
      for (const operations of events) {
        try {
          found.push(await env.ACTOR.getByName(name).act(operations));
        } catch (error) {
          found.push(failed(error));
        }
      }
      answers.push(found);
    }
    return Response.json(answers);
  },
};
