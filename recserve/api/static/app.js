// The page behind "/": asks the public API for recommendations, posts what is clicked, shows what changed.

import { language, say, switchLanguage, translate } from "./language.js";

const $ = (id) => document.getElementById(id);
const COUNT = 12;
const HISTORY = 12;
const STARS = 5;
const BUTTONS = [["view", "View"], ["like", "Like"], ["dislike", "Dislike"]];
const PAST = { view: "viewed", like: "liked", dislike: "disliked", click: "clicked", play: "played", rating: "rated",
  purchase: "bought", add_to_cart: "put in cart", skip: "skipped", hide: "hid", search: "searched" };

const KEY = "recserve-key";

const state = { about: null, session: [], shown: null, titles: new Map(), asked: 0, asking: null };

// ---------------------------------------------------------------------------------------------- API

class ApiError extends Error {}

async function call(path, body) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const response = await send(path, body, key);
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const message = answer.error?.message ?? say("The server answered {}.", response.status);
    // A call beside this one may have been given a key meanwhile.
    const again = response.status === 401 && (sessionStorage.getItem(KEY) !== key || await askForKey(key !== null));
    if (!again) throw new ApiError(message);
  }
}

async function send(path, body, key) {
  const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
  const options = body === undefined ? { headers } : {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  try {
    return await fetch(path, options);
  } catch {
    throw new ApiError(say("The server cannot be reached."));
  }
}

/** Ask for an API key; resolves to whether there is a new one. Calls that need one at a time share the question. */
function askForKey(refused) {
  state.asking ??= new Promise((resolve) => {
    const dialog = $("key-dialog");
    $("key-refused").hidden = !refused;
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      const key = $("key").value.trim();
      $("key").value = "";
      state.asking = null;
      // Of this tab alone, and gone with it.
      if (dialog.returnValue === "use") sessionStorage.setItem(KEY, key);
      resolve(dialog.returnValue === "use");
    }, { once: true });
    dialog.showModal();
  });
  return state.asking;
}

/** A link cannot carry a key, so what it leads to is fetched and shown. */
async function openPlugins(event) {
  if (sessionStorage.getItem(KEY) === null) return;
  event.preventDefault();
  try {
    const text = JSON.stringify(await call("v1/plugins"), null, 1);
    location.assign(URL.createObjectURL(new Blob([text], { type: "application/json" })));
  } catch (error) {
    fail(error);
  }
}

const isUser = () => document.forms.ask.who.value === "user";

function question() {
  const body = { n: COUNT, language: language() };
  const user = $("user").value;
  const query = $("query").value.trim();
  if (isUser() && user) body.user_id = user;
  if (!isUser() && state.session.length) {
    body.session = state.session.map(({ item_id, event, timestamp, value }) => ({ item_id, event, timestamp, value }));
  }
  if (query) body.query = query;
  const item = $("item").value.trim();
  if (item) body.item_id = item;
  if ($("scenario").value) body.scenario = $("scenario").value;
  return body;
}

// ------------------------------------------------------------------------------------------ actions

/** Ask and show; `deed` says what the user just did, if anything. */
async function recommend(deed = null) {
  const number = ++state.asked;
  $("items").setAttribute("aria-busy", "true");
  try {
    const answer = await call("v1/recommend", question());
    if (number !== state.asked) return; // a later question is already on its way
    $("error").hidden = true;
    show(answer, deed);
    await showHistory(number);
  } catch (error) {
    if (number === state.asked) fail(error);
  } finally {
    if (number === state.asked) $("items").removeAttribute("aria-busy");
  }
}

async function act(item, event, value) {
  const deed = [sentence(event, value), titleOf(item)];
  const timestamp = Date.now();
  const position = item.rank - 1;
  lock(true);
  try {
    if (isUser()) {
      if (!$("user").value) throw new ApiError(say("Enter a user id first, or choose the anonymous visitor."));
      await call("v1/events", {
        user_id: $("user").value, item_id: item.item_id, event, value, timestamp, event_id: crypto.randomUUID?.(),
      });
    } else {
      state.session.push({ item_id: item.item_id, event, value, timestamp });
    }
    await recommend(deed);
  } catch (error) {
    fail(error);
  } finally {
    lock(false);
    focusNear(position);
  }
}

function fail(error) {
  if (!(error instanceof ApiError)) throw error;
  $("error").textContent = error.message;
  $("error").hidden = false;
  $("status").textContent = "";
}

function lock(on) {
  for (const button of document.querySelectorAll(".actions button")) button.disabled = on;
}

/** The clicked card is usually gone: keep the keyboard where it was. */
function focusNear(position) {
  const cards = $("items").children;
  const card = cards[Math.min(position, cards.length - 1)];
  (card?.querySelector("button") ?? $("items")).focus({ preventScroll: true });
}

// ---------------------------------------------------------------------------------------- rendering

function show(answer, deed) {
  const before = deed && state.shown ? new Map(state.shown.map((item) => [item.item_id, item])) : null;
  const places = new Map([...$("items").children].map((card) => [card.dataset.id, card.getBoundingClientRect()]));
  for (const item of answer.items) state.titles.set(item.item_id, titleOf(item));

  const cards = answer.items.map((item) => card(item, before));
  if (!cards.length) cards.push(element("li", { className: "empty-list" }, say("Nothing to recommend.")));
  $("items").replaceChildren(...cards);
  if (before) glide(places);
  announce(answer, before, deed);
  state.shown = answer.items;

  $("degraded").hidden = answer.degraded.length === 0;
  $("degraded").textContent = say("Degraded answer, it went on without: {}", answer.degraded.join(", "));
  $("bundle").textContent = answer.bundle;
  $("answered-scenario").textContent = answer.scenario;
  showTimings(answer.timings);
}

function announce(answer, before, deed) {
  if (!before) {
    $("status").textContent = say("{} recommendations", answer.items.length);
    return;
  }
  const now = new Set(answer.items.map((item) => item.item_id));
  const fresh = answer.items.filter((item) => !before.has(item.item_id)).length;
  const moved = answer.items.filter((item) => before.has(item.item_id) && before.get(item.item_id).rank !== item.rank).length;
  const gone = [...before.values()].filter((item) => !now.has(item.item_id)).map(titleOf);
  const named = gone.slice(0, 3).join(", ") + (gone.length > 3 ? say(" and {} more", gone.length - 3) : "");
  const left = gone.length ? say("; left: {}", named) : "";
  $("status").textContent = say("{} “{}” → {} new, {} moved", ...deed, fresh, moved) + left;
}

function card(item, before) {
  const title = titleOf(item);
  const poster = element("div", { className: "poster", ariaHidden: "true" }, initials(title),
    element("span", { className: "rank" }, `#${item.rank}`));
  poster.style.setProperty("--hue", hue(item.item_id));
  const change = changeOf(item, before);
  if (change) poster.append(element("span", { className: `badge ${change.kind}` }, change.text));

  const { chips, long } = attributes(item.attributes);
  const body = element("div", { className: "body" }, element("h3", {}, title));
  if (change) body.firstChild.append(element("span", { className: "skip" }, ` (${change.words})`));
  if (chips.length) body.append(element("ul", { className: "chips" }, ...chips.map((text) => element("li", {}, text))));
  if (long) body.append(element("p", { className: "long" }, long));
  if (item.explanation) body.append(element("p", { className: "why" }, item.explanation));
  body.append(element("p", { className: "origin" },
    element("span", { title: say("Retrievers that proposed it") }, item.sources.join(" · ") || "–"),
    element("span", { className: "score", title: say("Score, comparable only within this list") }, item.score?.toFixed(3) ?? "–")));
  body.append(actions(item, title));

  const made = element("li", { className: change ? "card changed" : "card" }, poster, body);
  made.dataset.id = item.item_id;
  return made;
}

function changeOf(item, before) {
  if (!before) return null;
  const old = before.get(item.item_id);
  if (!old) return { kind: "new", text: say("new"), words: say("new") };
  const steps = old.rank - item.rank;
  if (steps > 0) return { kind: "up", text: `▲ ${steps}`, words: say("up {}", steps) };
  if (steps < 0) return { kind: "down", text: `▼ ${-steps}`, words: say("down {}", -steps) };
  return null;
}

function actions(item, title) {
  const events = state.about.events;
  const made = element("div", { className: "actions" });
  for (const [event, label] of BUTTONS) {
    if (events[event]) made.append(button(say(label), `${say(label)}: ${title}`, () => act(item, event)));
  }
  const range = events.rating?.value_range;
  if (range) {
    const stars = element("span", { className: "stars", role: "group", ariaLabel: say("Rate {}", title) });
    for (let star = 1; star <= STARS; star++) {
      const value = Math.max(range[0], (range[1] * star) / STARS);
      stars.append(button("★", say("Rate {} of {}", star, STARS), () => act(item, "rating", value)));
    }
    made.append(stars);
  }
  return made;
}

function showTimings(timings) {
  const stages = Object.entries(timings).filter(([stage]) => stage !== "total");
  const sum = stages.reduce((total, [, ms]) => total + ms, 0) || 1;
  $("total").textContent = timings.total === undefined ? "–" : `${timings.total.toFixed(1)} ms`;
  $("bar").replaceChildren(...stages.map(([, ms], index) => {
    const part = element("span", { className: `c${index % 6}` });
    part.style.width = `${(100 * ms) / sum}%`;
    return part;
  }));
  $("timings").replaceChildren(...stages.map(([stage, ms], index) => element("li", {},
    element("i", { className: `c${index % 6}` }), element("span", {}, say(stage)), element("b", {}, `${ms.toFixed(2)} ms`))));
}

async function showHistory(number) {
  let events = state.session.slice(-HISTORY).reverse();
  if (isUser()) {
    const user = $("user").value;
    events = user ? (await call(`v1/users/${encodeURIComponent(user)}/history?limit=${HISTORY}`)).events : [];
  }
  await Promise.all([...new Set(events.flatMap((event) => event.item_id ?? []))].map(lookUp));
  if (number !== state.asked) return;
  const lines = events.map((event) => element("li", {},
    element("span", {}, event.item_id === null ? `“${event.text}”` : state.titles.get(event.item_id) ?? event.item_id),
    element("span", { className: "what" }, sentence(event.event, event.value).toLowerCase())));
  if (!lines.length) lines.push(element("li", { className: "empty" }, say("Nothing yet. Click something.")));
  $("history").replaceChildren(...lines);
}

async function lookUp(id) {
  if (state.titles.has(id)) return;
  try {
    state.titles.set(id, (await call(`v1/items/${encodeURIComponent(id)}`)).title);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    state.titles.set(id, id); // not in the catalogue: its id is all there is
  }
}

/** Let cards that stayed glide from where they were. */
function glide(places) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const made of $("items").children) {
    const old = places.get(made.dataset.id);
    if (!old) {
      made.animate([{ opacity: 0, transform: "scale(.96)" }, { opacity: 1, transform: "none" }], { duration: 350, easing: "ease-out" });
      continue;
    }
    const now = made.getBoundingClientRect();
    const [x, y] = [old.left - now.left, old.top - now.top];
    if (x || y) made.animate([{ transform: `translate(${x}px, ${y}px)` }, { transform: "none" }], { duration: 450, easing: "ease-in-out" });
  }
}

// ------------------------------------------------------------------------------------------ helpers

function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function button(label, description, onclick) {
  return element("button", { type: "button", ariaLabel: description, title: description, onclick }, label);
}

const titleOf = (item) => String(item.attributes.title || item.attributes.name || item.item_id);

function sentence(event, value) {
  const verb = say(PAST[event] ?? event);
  const said = value === null || value === undefined ? verb : `${verb} ${value}`;
  return said.charAt(0).toUpperCase() + said.slice(1);
}

function attributes(known) {
  const chips = [];
  let long = "";
  for (const [name, value] of Object.entries(known)) {
    if (name === "title" || name === "name" || value === null || value === "") continue;
    if (Array.isArray(value)) chips.push(...value.filter((one) => typeof one !== "object").map(String));
    else if (typeof value === "string" && value.length > 40) long ||= value;
    else if (typeof value !== "object") chips.push(typeof value === "boolean" ? `${name}: ${value}` : String(value));
  }
  return { chips: chips.slice(0, 6), long };
}

function initials(title) {
  const words = title.match(/[\p{L}\p{N}]+/gu) ?? ["?"];
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}

/** A colour for an item; steps of the golden angle keep neighbouring ids apart. */
function hue(id) {
  let hash = 7;
  for (const character of id.slice(0, 200)) hash = (hash * 31 + character.codePointAt(0)) % 100_003;
  return ((hash * 137.508) % 360).toFixed(1);
}

// -------------------------------------------------------------------------------------------- theme

const THEMES = ["automatic", "light", "dark"];

function setTheme(theme) {
  if (theme === "automatic") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $("theme").title = $("theme").ariaLabel = say(`Theme: ${theme}`);
  $("theme").textContent = { automatic: "◐", light: "☀", dark: "☾" }[theme];
  localStorage.setItem("recserve-theme", theme);
}

// ----------------------------------------------------------------------------------------- language

/** What is not in index.html follows the page's language; the button offers the other one. */
function showLanguage() {
  const chinese = language() === "zh";
  $("language").textContent = chinese ? "English" : "中文";
  $("language").lang = chinese ? "en" : "zh-CN";
  setTheme(localStorage.getItem("recserve-theme") ?? "automatic");
  switchWho();
}

// -------------------------------------------------------------------------------------------- start

function switchWho() {
  $("user-field").hidden = !isUser();
  $("session-note").hidden = $("restart").hidden = isUser();
  $("history-title").textContent = say(isUser() ? "What they did" : "This session");
}

function listen() {
  document.forms.ask.addEventListener("submit", (event) => {
    event.preventDefault();
    recommend();
  });
  for (const radio of document.forms.ask.who) {
    radio.addEventListener("change", () => {
      switchWho();
      recommend();
    });
  }
  $("user").addEventListener("change", () => recommend());
  $("scenario").addEventListener("change", () => recommend());
  $("restart").addEventListener("click", () => {
    state.session = [];
    recommend();
  });
  $("plugins").addEventListener("click", openPlugins);
  $("language").addEventListener("click", () => {
    switchLanguage();
    showLanguage();
    recommend();
  });
  $("theme").addEventListener("click", () => {
    const now = localStorage.getItem("recserve-theme") ?? "automatic";
    setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
  });
}

async function start() {
  translate();
  showLanguage();
  listen();
  try {
    state.about = await call("v1/about");
  } catch (error) {
    fail(error);
    return;
  }
  const { sample_users: users, scenarios, default_scenario: standard } = state.about;
  $("users").replaceChildren(...users.map((user) => element("option", { value: user })));
  if (users.length) $("user").value = users[0];
  else document.forms.ask.who.value = "session";
  $("scenario").replaceChildren(...scenarios.map((name) => element("option", { value: name }, name)));
  $("scenario").value = standard;
  $("scenario-field").hidden = scenarios.length < 2;
  switchWho();
  await recommend();
}

start();
