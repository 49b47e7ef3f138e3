const search = document.getElementById("search");
const sections = [...document.querySelectorAll("main section")];
const entries = sections.flatMap((section) => [...section.querySelectorAll("article")]);
const texts = entries.map((entry) => entry.textContent.toLowerCase());
const links = new Map();
for (const link of document.querySelectorAll("nav a")) links.set(link.hash, link.parentElement);

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  entries.forEach((entry, index) => {
    entry.hidden = !words.every((word) => texts[index].includes(word));
    const link = links.get("#" + entry.id);
    if (link) link.hidden = entry.hidden;
  });
  for (const section of sections) {
    section.hidden = [...section.querySelectorAll("article")].every((entry) => entry.hidden);
  }
  document.getElementById("nothing").hidden = entries.some((entry) => !entry.hidden);
}

if (matchMedia("(max-width: 48rem)").matches) {
  document.querySelector("nav details").open = false;
}
search.hidden = false;
search.addEventListener("input", filter);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) {
    event.preventDefault();
    search.focus();
  }
});
filter();
