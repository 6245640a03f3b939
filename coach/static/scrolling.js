// Where the page stands: at the question that was asked, with a way to what is newest.

const root = document.scrollingElement;
const $ = (id) => document.getElementById(id);

export const showLatest = () => {
  $("latest").hidden = root.scrollHeight - root.scrollTop - root.clientHeight < 80;
};

export const toLatest = () => root.scrollTo({ top: root.scrollHeight });

// The question goes to the top and stays there: whoever reads begins at the beginning, however fast the words come.
export const toQuestion = () => {
  $("messages").querySelector(".user:nth-last-child(-n + 2)")?.scrollIntoView({ block: "start" });
  showLatest();
};
