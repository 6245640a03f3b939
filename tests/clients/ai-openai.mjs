// The stock AI SDK with its OpenAI provider against /v1/responses, as it comes: three turns, told as one JSON object.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai7";

const { url, token } = JSON.parse(process.argv[2]);
const sent = [];
const provider = createOpenAI({
  baseURL: `${url}/v1`,
  apiKey: token,
  fetch: (at, options) => (sent.push(JSON.parse(options.body)), fetch(at, options)),
});
const model = provider("coach");
const messages = [];
const texts = [];

for (const [turn, content] of ["My knee hurts.", "And tomorrow?", "And then?"].entries()) {
  messages.push({ role: "user", content });
  const result = turn % 2 ? streamText({ model, messages, maxRetries: 0 }) : await generateText({ model, messages, maxRetries: 0 });
  texts.push(await result.text);
  messages.push(...(await result.response).messages);
}
console.log(JSON.stringify({ texts, kinds: sent.map((body) => body.input.map((item) => item.type ?? item.role)) }));
