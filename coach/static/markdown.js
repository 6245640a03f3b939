// The little Markdown that models write, as DOM nodes. Whatever is not recognised stays text.

import { el } from "./dom.js";

const BLOCK = {
  fence: /^```/,
  heading: /^(#{1,6})\s+(.*)$/,
  bullet: /^\s*[-*•]\s+(.*)$/,
  number: /^\s*(\d{1,3})[.)]\s+(.*)$/,
  quote: /^>\s?(.*)$/,
};
const INLINE = /(`[^`\n]+`)|\*\*([^*\n]+)\*\*|__([^_\n]+)__|(?<![\w*])\*(?!\s)([^*\n]+)(?<!\s)\*(?![\w*])|(?<!\w)_(?!\s)([^_\n]+)(?<!\s)_(?!\w)|\[([^\]\n]+)\]\((https?:\/\/[^\s)]+)\)|\[(\d{1,2})\]/g;

// Cut text into blocks, each with its lines; joined again they are the text. A block that did not change keeps its node.
export const blocksOf = (text) => {
  const blocks = [];
  let block = null;
  const end = () => {
    if (block) blocks.push(block);
    block = null;
  };
  for (const line of text.split("\n")) {
    if (block?.kind === "fence") {
      block.lines.push(line);
      if (BLOCK.fence.test(line)) end();
      continue;
    }
    if (!line.trim()) {
      end();
      continue;
    }
    const kind = kindOf(line);
    const continues = block && (block.kind === kind || (kind === "paragraph" && /^\s/.test(line)));
    if (!continues || kind === "heading") {
      end();
      block = { kind, lines: [] };
    }
    block.lines.push(line);
  }
  end();
  return blocks;
};

const kindOf = (line) => Object.keys(BLOCK).find((kind) => BLOCK[kind].test(line)) ?? "paragraph";

export const nodeOf = ({ kind, lines }, cite) => {
  switch (kind) {
    case "fence":
      return el("pre", {}, el("code", {}, lines.slice(1).filter((line) => !BLOCK.fence.test(line)).join("\n")));
    case "heading":
      return el("h3", {}, ...inline(lines[0].match(BLOCK.heading)[2], cite));
    case "bullet":
      return el("ul", {}, ...items(lines, BLOCK.bullet, 1).map((text) => el("li", {}, ...inline(text, cite))));
    case "number":
      return el(
        "ol",
        { start: lines[0].match(BLOCK.number)[1] },
        ...items(lines, BLOCK.number, 2).map((text) => el("li", {}, ...inline(text, cite))),
      );
    case "quote":
      return el("blockquote", {}, ...inline(lines.map((line) => line.replace(BLOCK.quote, "$1")).join("\n"), cite));
    default:
      return el("p", {}, ...inline(lines.join("\n"), cite));
  }
};

const items = (lines, pattern, group) => {
  const found = [];
  for (const line of lines) {
    const match = line.match(pattern);
    if (match) found.push(match[group]);
    else found[found.length - 1] += `\n${line.trim()}`;
  }
  return found;
};

const inline = (text, cite) => {
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, strong, strong2, em, em2, label, href, number] = match;
    nodes.push(text.slice(at, match.index));
    at = match.index + whole.length;
    if (code) nodes.push(el("code", {}, code.slice(1, -1)));
    else if (strong || strong2) nodes.push(el("strong", {}, ...inline(strong || strong2, cite)));
    else if (em || em2) nodes.push(el("em", {}, ...inline(em || em2, cite)));
    else if (href) nodes.push(el("a", { href, target: "_blank", rel: "noopener noreferrer" }, label));
    else nodes.push(cite(Number(number)) ?? whole);
  }
  nodes.push(text.slice(at));
  return nodes.filter((node) => node !== "");
};
