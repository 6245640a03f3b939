// The page: who is signed in, which conversation is open, what runs.

import { Trouble, ask, quota, resume, stop } from "./api.js";
import { loadKinds } from "./kinds.js";
import { fail, takePart } from "./parts.js";
import { showLatest, toLatest, toQuestion } from "./scrolling.js";
import {
  forget, getToken, loadConversation, newId, saveConversation, setToken, startConversation, takeTokenFromAddress,
} from "./store.js";
import { AnswerView, userView } from "./view.js";
import { clearWelcome, fillWelcome } from "./welcome.js";

const RESUME_ATTEMPTS = 5;

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat();
let conversation = loadConversation();
let running = null;

const show = (id, visible) => {
  $(id).hidden = !visible;
};

const showSignIn = (notice = "") => {
  for (const id of ["tools", "dock", "welcome"]) show(id, false);
  $("messages").replaceChildren();
  show("sign-in", true);
  $("sign-in-notice").textContent = notice;
  show("sign-in-notice", Boolean(notice));
  $("token").focus();
};

const signedIn = async () => {
  try {
    showQuota(await quota());
  } catch (trouble) {
    if (trouble.status === 401 || trouble.status === 403) return signOut(trouble.message);
    show("quota", false);
  }
  for (const id of ["tools", "dock"]) show(id, true);
  show("sign-in", false);
  conversation = loadConversation();
  render();
  welcome();
  $("question").focus();
  const last = conversation.messages.at(-1);
  if (last?.role === "assistant" && last.status === "running") await carry(last, () => again(last));
};

const signOut = (notice = "") => {
  running = null;
  forget();
  clearWelcome();
  conversation = loadConversation();
  showSignIn(notice);
};

const showQuota = ({ limit, remaining, warning }) => {
  $("quota-text").textContent = number.format(remaining);
  $("quota-whole").textContent = ` of ${number.format(limit)}`;
  $("quota").title = `${number.format(remaining)} of ${number.format(limit)} answers left this month`;
  $("quota").classList.toggle("low", warning !== null);
  $("quota-bar").style.inlineSize = `${limit ? (remaining / limit) * 100 : 0}%`;
  show("quota", true);
};

const render = () => {
  show("welcome", conversation.messages.length === 0);
  const last = conversation.messages.at(-1);
  $("messages").replaceChildren(
    ...conversation.messages.map((m) => (m.role === "user" ? userView(m) : viewOf(m, m === last).node)),
  );
  toQuestion();
};

const views = new WeakMap();
const viewOf = (message, last) => {
  const view = new AnswerView(message, { last, again: () => regenerate(message), retry: () => retry(message) });
  views.set(message, view);
  return view;
};

const blankAnswer = () => ({ role: "assistant", id: null, status: "running", text: "", sources: [] });

const submit = (text) => {
  const question = text.trim();
  if (!question || running) return;
  conversation.messages.push({ role: "user", id: newId(), text: question });
  conversation.messages.push(blankAnswer());
  $("question").value = "";
  fit();
  render();
  send("submit-message");
};

const askAgain = (message, trigger) => {
  if (running || message !== conversation.messages.at(-1)) return;
  conversation.messages[conversation.messages.length - 1] = blankAnswer();
  render();
  send(trigger);
};

const regenerate = (message) => askAgain(message, "regenerate-message");

// The same message again: the server knows by its id whether it has answered it.
const retry = (message) => askAgain(message, "submit-message");

const send = (trigger) => {
  const answer = conversation.messages.at(-1);
  const question = conversation.messages.at(-2);
  const before = conversation.messages.slice(0, -2).filter((m) => m.id).map(({ role, id }) => ({ role, id, parts: [] }));
  const body = {
    id: conversation.id,
    trigger,
    messages: [...before, { role: "user", id: question.id, parts: [{ type: "text", text: question.text }] }],
  };
  return carry(answer, () => ask(body));
};

const again = async (answer) => {
  const parts = await resume(conversation.id);
  if (!parts) throw new Trouble("This answer is no longer on its way.", { slug: "gone" });
  Object.assign(answer, blankAnswer());
  return parts;
};

// Read an answer to its end. A connection that breaks is taken up again: the server goes on without us.
const carry = async (answer, open) => {
  running = answer;
  busy(true);
  try {
    await follow(answer, open);
  } catch (trouble) {
    if (running !== answer) return;
    if (trouble.status === 401) return signOut(trouble.message);
    fail(answer, trouble);
  } finally {
    if (running === answer) {
      running = null;
      busy(false);
      saveConversation(conversation);
      views.get(answer)?.update();
    }
  }
};

const follow = async (answer, open) => {
  for (let attempt = 0; ; attempt++) {
    try {
      for await (const part of await open()) {
        if (running !== answer) return;
        take(answer, part);
      }
      return;
    } catch (trouble) {
      if (trouble.slug !== "cut" || attempt >= RESUME_ATTEMPTS) throw trouble;
      await new Promise((done) => setTimeout(done, 500 * 2 ** attempt));
      open = () => again(answer);
    }
  }
};

const take = (answer, part) => {
  if (part.type === "data-quota") showQuota(part.data);
  takePart(answer, part);
  if (part.type === "start") saveConversation(conversation);
  redraw(answer);
};

// Once a frame at most, however fast the words come.
let frame = 0;
const redraw = (answer) => {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    views.get(answer)?.update();
    showLatest();
  });
};

const busy = (on) => {
  show("send", !on);
  show("stop", on);
};

const stopRunning = async () => {
  if (!running) return;
  try {
    await stop(conversation.id);
  } catch (trouble) {
    fail(running, trouble);
  }
};

const begin = (sentence) => {
  const field = $("question");
  field.value = sentence.replace(/…$/, "");
  fit();
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
};

const welcome = () => fillWelcome({ send: submit, begin });

const beginAnew = () => {
  running = null;
  busy(false);
  conversation = startConversation();
  render();
  welcome();
  $("question").focus();
};

const fit = () => {
  const field = $("question");
  field.style.blockSize = "auto";
  field.style.blockSize = `${field.scrollHeight}px`;
};

addEventListener("scroll", showLatest, { passive: true });
$("latest").addEventListener("click", toLatest);
$("question").addEventListener("input", fit);
$("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape") stopRunning();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit($("question").value);
});
$("stop").addEventListener("click", stopRunning);
$("new").addEventListener("click", beginAnew);
$("sign-out").addEventListener("click", () => signOut());
$("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const pasted = $("token").value.trim();
  if (!pasted) return;
  $("token").value = "";
  setToken(pasted);
  signedIn();
});
addEventListener("hashchange", () => takeTokenFromAddress() && signedIn());

takeTokenFromAddress();
await loadKinds();
if (getToken()) signedIn();
else showSignIn();
