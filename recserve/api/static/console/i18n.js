// The console's words: English is written where it is shown, and is the key of its translation; `{}` is filled in.

const KEY = "recserve-language";
const DICTIONARIES = ["shell", "live", "try", "catalogue", "people", "quality", "experiments", "plugins"];

let words = {};

/** The language of the page: what was chosen on it, else what the browser prefers. */
export function language() {
  const chosen = localStorage.getItem(KEY);
  if (chosen === "en" || chosen === "zh") return chosen;
  const known = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag === "en" || tag === "zh");
  return known ?? "en";
}

/** The language as `Intl` and the attribute `lang` want it. */
export const locale = () => (language() === "zh" ? "zh-CN" : "en");

/** A text in the page's language, with each `{}` filled in. */
export function say(text, ...values) {
  return (words[text] ?? text).replace(/\{\}/g, () => String(values.shift()));
}

/** Load the words of the page's language and put what index.html says into it; attributes are named in `data-say`. */
export async function translate() {
  const wanted = language();
  const parts = wanted === "en" ? [] : await Promise.all(DICTIONARIES.map((name) => import(`./locales/zh/${name}.js`)));
  if (language() !== wanted) return; // another language was chosen while these words came
  words = Object.assign({}, ...parts.map((part) => part.default));
  document.documentElement.lang = locale();
  for (const element of document.querySelectorAll("[data-say]")) {
    for (const name of element.dataset.say.split(" ")) {
      const kept = `data-english-${name || "text"}`;
      const english = element.getAttribute(kept) ?? (name ? element.getAttribute(name) : element.textContent);
      element.setAttribute(kept, english);
      if (name) element.setAttribute(name, say(english));
      else element.textContent = say(english);
    }
  }
}

/** Change to the other language; the page stays in the one it has where the other's words cannot be had. */
export async function switchLanguage() {
  const before = language();
  localStorage.setItem(KEY, before === "zh" ? "en" : "zh");
  try {
    await translate();
  } catch (error) {
    localStorage.setItem(KEY, before);
    throw error;
  }
}
