// The kinds of sources, as the server names and draws them.

import { addIcon } from "./dom.js";

const labels = new Map();

/** Once, before the first source is shown. Without them sources are shown all the same. */
export const loadKinds = async () => {
  const response = await fetch("/api/config").catch(() => null);
  if (!response?.ok) return;
  for (const { kind, label, icon } of (await response.json()).kinds) {
    labels.set(kind, label);
    addIcon(kind, icon);
  }
};

export const labelOf = (kind) => labels.get(kind) ?? kind.replaceAll("_", " ");
