// The stock openai package against a coach: what it makes of every kind of answer, as one JSON object.
import OpenAI from "openai";

const { url, token, cut } = JSON.parse(process.argv[2]);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 0 });
const ask = (content) => [{ role: "user", content }];

async function refused(call) {
  try {
    await call();
  } catch (error) {
    return { name: error.constructor.name, status: error.status, code: error.code, param: error.param, type: error.type };
  }
  return null;
}

const found = { models: [] };
for await (const model of client.models.list()) found.models.push(model.id);
found.model = (await client.models.retrieve("coach/goal_coaching")).id;

found.whole = await client.chat.completions.create({ model: "coach", messages: ask("What should I do today?") });

const chunks = await client.chat.completions.create({
  model: "coach",
  messages: ask("And tomorrow?"),
  stream: true,
  stream_options: { include_usage: true },
});
found.chunks = [];
for await (const chunk of chunks) found.chunks.push(chunk);

const runner = client.chat.completions.stream({ model: "coach", messages: ask("And next week?") });
found.assembled = (await runner.finalChatCompletion()).choices[0].message.content;

const response = await client.responses.create({ model: "coach", input: "Hello", instructions: "Be brief." });
found.response = { id: response.id, status: response.status, text: response.output_text };
found.retrieved = (await client.responses.retrieve(response.id)).output[0].content[0].text;

const events = await client.responses.create({
  model: "coach",
  input: "Go on.",
  previous_response_id: response.id,
  stream: true,
});
found.events = [];
for await (const event of events) found.events.push(event);

const following = client.responses.stream({ model: "coach", input: "Once more." });
found.followed = (await following.finalResponse()).output_text;

found.refusals = {
  model: await refused(() => client.chat.completions.create({ model: "gpt-4", messages: ask("x") })),
  n: await refused(() => client.chat.completions.create({ model: "coach", n: 2, messages: ask("x") })),
  token: await refused(() => new OpenAI({ baseURL: `${url}/v1`, apiKey: "wrong", maxRetries: 0 }).models.list()),
  response: await refused(() => client.responses.retrieve("resp_absent")),
};

const persistent = new OpenAI({ baseURL: `${cut}/v1`, apiKey: token, maxRetries: 2 });
found.retried = (
  await persistent.chat.completions.create({ model: "coach", messages: ask("Are you there?") })
).choices[0].message.content;

console.log(JSON.stringify(found));
