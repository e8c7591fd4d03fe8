// Sends each request that is asked for, and tells how it ended; entry.py says the same in Python.
import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";

// /STATUS/N is redirected N times; `to` says where to instead, all else tells what arrived.
async function answer(request) {
  const url = new URL(request.url);
  const body = await request.text();
  const place = /^\/(\d+)\/(\d+)$/.exec(url.pathname);
  if (place !== null) {
    const [status, left] = [Number(place[1]), Number(place[2])];
    const further = left > 1 ? `/${status}/${left - 1}` : "/end";
    const headers = url.searchParams.has("none") ? {} : { location: url.searchParams.get("to") ?? further };
    return new Response("moved", { status, headers });
  }
  const fields = ["authorization", "content-type", "cookie"].map((name) => request.headers.get(name));
  return new Response(JSON.stringify([request.method, request.url, body, request.redirect, fields]));
}

export class Target extends DurableObject {
  fetch(request) { return answer(request); }
}

export class Named extends WorkerEntrypoint {
  fetch(request) { return answer(request); }
}

async function asked(env, [target, path, options]) {
  const to = target === "object" ? env.OBJECT.getByName("a") : env.SERVICE;
  const { stream, whole, ...rest } = options;
  if (stream) rest.body = new Response("hello").body;
  const url = `http://host${path}`;
  try {
    const response = await (whole ? to.fetch(new Request(url, rest)) : to.fetch(url, rest));
    const told = rest.method === "HEAD" ? "" : await response.text();
    return [response.status, response.redirected, response.redirected ? response.url : "", told];
  } catch (error) {
    return [error.message];
  }
}

export default {
  async fetch(request, env) {
    if (request.method !== "POST") return new Response("ready");
    const answers = [];
    for (const each of await request.json()) answers.push(await asked(env, each));
    return Response.json(answers);
  },
};
