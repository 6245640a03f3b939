// What this browser remembers: the token, and the conversation that is open. Signing out forgets both.

const TOKEN = "coach.token";
const CONVERSATION = "coach.conversation";
const KEPT_MESSAGES = 200;

const read = (key) => {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // storage is switched off: the page works, and forgets on reload
  }
};

const write = (key, value) => {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // full or switched off: nothing that the server does not have is lost
  }
};

let token = read(TOKEN);

export const getToken = () => token;

export const setToken = (value) => {
  token = value;
  write(TOKEN, value);
};

const accountOf = (value) => {
  try {
    return JSON.parse(atob(value.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub;
  } catch {
    return null;
  }
};

// Whoever follows another's link would go on to write into that one's account.
const mayReplace = (found) =>
  !token ||
  (accountOf(found) && accountOf(found) === accountOf(token)) ||
  confirm("This link signs in to another account, and what you write then is kept there. Sign out here and follow it?");

// The sign-in link carries the token in the fragment, which no server sees; it must not stay in the address bar.
export const takeTokenFromAddress = () => {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!found) return false;
  history.replaceState(null, "", location.pathname + location.search);
  if (found === token) return true;
  if (!mayReplace(found)) return false;
  write(CONVERSATION, null);
  setToken(found);
  return true;
};

export const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const empty = () => ({ id: newId(), messages: [] });

export const loadConversation = () => {
  try {
    const found = JSON.parse(read(CONVERSATION) ?? "null");
    if (typeof found?.id === "string" && Array.isArray(found.messages)) return found;
  } catch {
    // written by another version: begin anew
  }
  return empty();
};

// What a model thought is not kept.
export const saveConversation = (conversation) => {
  const messages = conversation.messages.slice(-KEPT_MESSAGES).map(({ thoughts, loading, ...kept }) => kept);
  write(CONVERSATION, JSON.stringify({ ...conversation, messages }));
};

export const startConversation = () => {
  const conversation = empty();
  saveConversation(conversation);
  return conversation;
};

export const forget = () => {
  setToken(null);
  write(CONVERSATION, null);
};
