// The server, as this page uses it. Every failure becomes a Trouble: a sentence for a person, and what can be done.

import { getToken } from "./store.js";

export class Trouble extends Error {
  constructor(message, { slug = "", status = 0, retry = true } = {}) {
    super(message);
    this.slug = slug;
    this.status = status;
    this.retry = retry;
  }
}

const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long" });

const SENTENCES = {
  unauthenticated: () => "Your sign-in no longer holds. Please sign in again.",
  forbidden: () => "This token is not one for a person. Please sign in with your own.",
  "quota-exhausted": (p) => `All ${p.limit} answers of this month are used. There are new ones on ${day.format(new Date(p.resets_at))}.`,
  "rate-limited": () => "That was a bit fast. Please wait a moment.",
  "too-large": () => "That is more text than I can take at once.",
  "model-unavailable": () => "The language model does not answer right now.",
  "database-unavailable": () => "The server cannot reach its data right now.",
};
const FINAL = new Set(["unauthenticated", "forbidden", "quota-exhausted", "too-large", "invalid-input", "conflict"]);

export const troubleOf = (problem, status = 0) => {
  const slug = (problem?.type ?? "").split("/").pop();
  const sentence = SENTENCES[slug]?.(problem) ?? problem?.detail ?? "Something went wrong on the server.";
  return new Trouble(sentence, { slug, status, retry: !FINAL.has(slug) });
};

const call = async (path, options = {}) => {
  let response;
  try {
    response = await fetch(path, {
      ...options,
      headers: { authorization: `Bearer ${getToken()}`, ...options.headers },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("The server cannot be reached. Is it running?", { slug: "offline" });
  }
  if (response.ok) return response;
  throw troubleOf(await response.json().catch(() => null), response.status);
};

export const quota = async () => (await call("/api/me/quota")).json();

export const suggestions = async () => (await call("/api/me/suggestions")).json();

export const stop = (conversation) => call(`/api/chat/${encodeURIComponent(conversation)}/stop`, { method: "POST" });

export const ask = async (body) =>
  partsOf(await call("/api/chat", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify(body),
  }));

// The running answer from its beginning, or null where nothing runs and nothing ended just now.
export const resume = async (conversation) => {
  const response = await call(`/api/chat/${encodeURIComponent(conversation)}/stream`);
  return response.status === 204 ? null : partsOf(response);
};

// The parts of a UI message stream. A stream that breaks off before its [DONE] is a Trouble named "cut".
async function* partsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        if (!event.startsWith("data: ")) continue;
        if (event === "data: [DONE]") return;
        yield JSON.parse(event.slice(6));
      }
    }
  } catch (error) {
    if (error instanceof SyntaxError) throw error;
  } finally {
    reader.cancel().catch(() => {});
  }
  throw new Trouble("The connection broke off.", { slug: "cut" });
}
