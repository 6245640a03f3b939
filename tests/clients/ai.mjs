// The stock AI SDK against a coach, unchanged: what its chat state holds after each thing a person can do.
const { version, url, cut, token, over, provider } = JSON.parse(process.argv[2]);
const { AbstractChat, DefaultChatTransport, WebSocketChatTransport, readUIMessageStream } = await import(version);
const headers = { authorization: `Bearer ${token}` };

// What a UI framework brings: where the state is kept.
class State {
  status = "ready";
  error = undefined;
  constructor(messages) {
    this.messages = messages;
  }
  pushMessage = (message) => (this.messages = [...this.messages, message]);
  popMessage = () => (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => (this.messages = this.messages.toSpliced(index, 1, structuredClone(message)));
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor(id, { messages = [], at = url } = {}) {
    const data = [];
    super({ id, transport: transport(at), state: new State(messages), onData: (part) => data.push(part) });
    this.data = data;
  }
}

// A broken body is a "network error" in browsers, by which the client knows that it may go on; Node says "terminated".
async function likeABrowser(...call) {
  const response = await fetch(...call);
  const reader = response.body?.getReader();
  if (!reader) return response;
  const pull = async (sink) => {
    try {
      const { done, value } = await reader.read();
      return done ? sink.close() : sink.enqueue(value);
    } catch (error) {
      sink.error(error.name === "AbortError" ? error : new TypeError("network error"));
    }
  };
  const body = new ReadableStream({ pull, cancel: (reason) => reader.cancel(reason) });
  return new Response(body, { status: response.status, headers: response.headers });
}

const sockets = [];
function transport(at) {
  if (over !== "socket") {
    return new DefaultChatTransport({ api: `${at}/api/chat`, headers, fetch: likeABrowser });
  }
  const made = new WebSocketChatTransport({
    url: `${at}/ws/chat`,
    params: async () => ({ ticket: (await (await post("/api/ws-ticket")).json()).ticket }),
  });
  sockets.push(made);
  return made;
}

const post = (path) => fetch(`${url}${path}`, { method: "POST", headers });
// Tells the stub behind the coach what to answer next, or to go on with what it holds.
const script = (told) => fetch(`${provider}/_stub/script`, { method: "POST", body: JSON.stringify(told) });
const text = (message) => message.parts.filter((part) => part.type === "text").map((part) => part.text).join("");
const told = (chat) => ({
  status: chat.status,
  messages: chat.messages.map((m) => ({ id: m.id, role: m.role, text: text(m), metadata: m.metadata ?? null })),
  types: [...new Set((chat.messages.at(-1)?.parts ?? []).map((part) => part.type))],
  data: chat.data.map((part) => part.type),
});
async function stored(id) {
  const page = await (await fetch(`${url}/api/conversations/${id}/messages`, { headers })).json();
  // The answer that still runs comes again by the stream, from its first word on.
  return page.items.filter((message) => message.metadata.status !== "streaming");
}
async function until(happened) {
  for (let tries = 0; tries < 6000 && !happened(); tries++) await new Promise((next) => setTimeout(next, 5));
  if (!happened()) throw new Error("it did not happen");
}
const hasWords = (chat) => chat.messages.at(-1)?.role === "assistant" && text(chat.messages.at(-1)).length > 0;

const found = {};

let chat = new Chat("main");
await chat.sendMessage({ text: "What did I say about my knee?" });
found.sent = told(chat);

await chat.regenerate();
found.regenerated = told(chat);

await chat.sendMessage({ text: "And about my shoulder?", messageId: chat.messages[0].id });
found.edited = told(chat);

// Leaving is not stopping: the answer is finished, and can be resumed by a chat that was never there.
chat = new Chat("left");
await script({ chat: [{ type: "Answer", tokens: 60, held_after: 5 }] });
let sending = chat.sendMessage({ text: "How is it going?" });
await until(() => hasWords(chat));
await chat.stop();
await sending;
found.left = told(chat);
chat = new Chat("left", { messages: await stored("left") });
const resuming = chat.resumeStream();
await until(() => hasWords(chat));
await script({ go_on: true });
await resuming;
found.resumed = told(chat);

// Stopping: the one request that does.
chat = new Chat("stopped");
await script({ chat: [{ type: "Stall", after: 5 }] });
sending = chat.sendMessage({ text: "How is it going?" });
await until(() => hasWords(chat));
await post("/api/chat/stopped/stop");
await sending;
found.stopped = told(chat);

// A connection that breaks in the middle, then each of the two ways to go on.
for (const way of ["resume", "retry"]) {
  chat = new Chat(`cut-${way}`, { at: cut[way] });
  await chat.sendMessage({ text: "How is it going?" });
  const broken = told(chat);
  chat = new Chat(chat.id, { messages: await stored(chat.id) });
  await (way === "resume" ? chat.resumeStream() : chat.sendMessage());
  found[way] = { broken, after: told(chat) };
}
// Versions that know that a resumed stream is a replay need no rebuilding.
chat = new Chat("cut-plain", { at: cut.plain });
await chat.sendMessage({ text: "How is it going?" });
await chat.resumeStream();
found.plain = told(chat);

chat = new Chat("never-seen");
await chat.resumeStream();
found.nothing = told(chat);

const wire = transport(url);
const message = (id, content) => ({ id, role: "user", parts: [{ type: "text", text: content }] });
const send = (chatId, id) =>
  wire.sendMessages({ trigger: "submit-message", chatId, messages: [message(id, "Both?")], abortSignal: undefined });
async function last(stream) {
  let seen;
  for await (const each of readUIMessageStream({ stream, terminateOnError: true })) seen = each;
  return { id: seen.id, text: text(seen) };
}
const [one, other] = await Promise.all([send("one", "m1"), send("other", "m1")]);
found.both = await Promise.all([last(one), last(other)]);
found.again = await last(await send("one", "m1"));
found.refused = await send("one/two", "m1").then(last).catch((error) => error.message);

for (const each of sockets) each.close();
console.log(JSON.stringify(found));
