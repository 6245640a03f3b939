// What each part of an answer's stream makes of the answer, which is plain data.

import { Trouble, troubleOf } from "./api.js";

export const fail = (answer, trouble) => {
  answer.status = "failed";
  answer.trouble = trouble instanceof Trouble ? trouble.message : "Something went wrong on this page.";
  answer.retry = trouble.retry ?? true;
  if (!(trouble instanceof Trouble)) console.error(trouble);
};

export const takePart = (answer, part) => {
  switch (part.type) {
    case "start":
      answer.id = part.messageId;
      answer.model = part.messageMetadata.model;
      break;
    case "data-context":
      answer.withheld = part.data.withheld;
      break;
    case "source-document":
      answer.sources.push({ title: part.title, ...part.providerMetadata.coach });
      break;
    case "data-loading":
      answer.loading = true;
      break;
    case "reasoning-delta":
      answer.loading = false;
      answer.thoughts = (answer.thoughts ?? "") + part.delta;
      break;
    case "text-delta":
      answer.loading = false;
      answer.text += part.delta;
      break;
    case "message-metadata":
      if (part.messageMetadata.status === "failed") fail(answer, troubleOf(part.messageMetadata.problem));
      break;
    case "abort":
      answer.status = "interrupted";
      break;
    case "finish":
      answer.status = "complete";
      answer.usage = part.messageMetadata.usage;
      answer.milliseconds = part.messageMetadata.processing_time_ms;
      break;
  }
};
