// What stands on an empty page: questions that fit the user's rows, or sentences to begin with where there are none.

import { suggestions } from "./api.js";
import { el } from "./dom.js";
import { getToken } from "./store.js";

const $ = (id) => document.getElementById(id);

export const clearWelcome = () => {
  $("chips").replaceChildren();
  for (const id of ["welcome-known", "welcome-empty"]) $(id).hidden = true;
};

// A question is sent at once; a beginning is left to the user to finish.
export const fillWelcome = async ({ send, begin }) => {
  const token = getToken();
  let found;
  try {
    found = await suggestions();
  } catch {
    return clearWelcome(); // the page works without them, and whatever is wrong shows with the first question
  }
  if (getToken() !== token) return; // another user has signed in meanwhile
  $("welcome-known").hidden = found.is_empty;
  $("welcome-empty").hidden = !found.is_empty;
  const choose = found.is_empty ? begin : send;
  $("chips").replaceChildren(
    ...found.items.map(({ text }) => el("li", {}, el("button", { type: "button", onclick: () => choose(text) }, text))),
  );
};
