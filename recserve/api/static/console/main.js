// Starts the console: language, theme, then the view that the address names.

import { toast } from "./dom.js";
import { aborted } from "./http.js";
import { language, say, switchLanguage, translate } from "./i18n.js";
import { follow, refresh } from "./router.js";

const $ = (id) => document.getElementById(id);
const THEME = "recserve-theme";
const THEMES = ["automatic", "light", "dark"];
const SIGNS = { automatic: "◐", light: "☀", dark: "☾" };

const theme = () => localStorage.getItem(THEME) ?? "automatic";

function setTheme(chosen) {
  if (chosen === "automatic") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  $("theme").title = $("theme").ariaLabel = say(`Theme: ${chosen}`);
  $("theme").textContent = SIGNS[chosen];
  localStorage.setItem(THEME, chosen);
  // Charts are drawn with colours that they read once.
  document.dispatchEvent(new Event("recserve-theme"));
}

/** What is not in index.html follows the page's language; the button offers the other one. */
function showLanguage() {
  const chinese = language() === "zh";
  $("language").textContent = chinese ? "English" : "中文";
  $("language").lang = chinese ? "en" : "zh-CN";
  setTheme(theme());
}

$("language").addEventListener("click", async () => {
  try {
    await switchLanguage();
  } catch (error) {
    console.error(error);
    toast(say("The server cannot be reached."), "bad");
    return;
  }
  showLanguage();
  await refresh();
});
$("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("recserve-theme")));
$("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash names the view
  $("view").focus();
});
// A call that nobody waits for ends with its view: that is no fault.
window.addEventListener("unhandledrejection", (event) => {
  if (aborted(event.reason)) event.preventDefault();
});

await translate();
showLanguage();
await follow();
