// The page's words: English is written where it is shown, translations stand here; `{}` is filled in.

const KEY = "recserve-language";

const CHINESE = {
  // What stands in index.html.
  "Skip to the recommendations": "跳到推荐结果",
  "More": "更多",
  "Plugins": "插件",
  "What to ask": "推荐条件",
  "Recommend for": "推荐对象",
  "A user": "用户",
  "An anonymous visitor": "匿名访客",
  "User id": "用户编号",
  "any id, known or new": "任意编号，新老用户均可",
  "Clicks travel with each request as a session. Nothing is stored.": "点击随每次请求作为会话发送，不会保存。",
  "In the mood for": "想找什么",
  "optional": "可不填",
  "free text, any language": "随便写，任何语言",
  "Like the item": "与某物品相似",
  "an item id": "物品编号",
  "Scenario": "场景",
  "Recommend": "推荐",
  "Start the session over": "重新开始会话",
  "What they did": "历史行为",
  "This session": "本次会话",
  "How it was answered": "推荐过程",
  "Bundle": "模型包",
  "Total": "总耗时",
  "Loading…": "加载中…",
  "Recommendations": "推荐结果",
  "This server needs an API key": "此服务器需要 API 密钥",
  "The key was not accepted.": "密钥未被接受。",
  "Key": "密钥",
  "It is kept in this tab and forgotten with it.": "仅保存在本标签页，关闭后即清除。",
  "Use it": "使用",
  "Cancel": "取消",
  // What app.js says.
  "View": "查看",
  "Like": "喜欢",
  "Dislike": "不喜欢",
  "viewed": "看过",
  "liked": "喜欢",
  "disliked": "不喜欢",
  "clicked": "点过",
  "played": "播放过",
  "rated": "评分",
  "bought": "买过",
  "put in cart": "加入购物车",
  "skipped": "跳过",
  "hid": "隐藏",
  "searched": "搜索",
  "The server answered {}.": "服务器返回 {}。",
  "The server cannot be reached.": "无法连接服务器。",
  "Enter a user id first, or choose the anonymous visitor.": "请先填写用户编号，或选择匿名访客。",
  "Nothing to recommend.": "没有可推荐的内容。",
  "Degraded answer, it went on without: {}": "降级结果，缺少：{}",
  "{} recommendations": "{} 条推荐",
  "{} “{}” → {} new, {} moved": "{}“{}” → {} 个新增，{} 个位置变化",
  "; left: {}": "；移出：{}",
  " and {} more": "，另有 {} 个",
  "new": "新",
  "up {}": "上升 {}",
  "down {}": "下降 {}",
  "Retrievers that proposed it": "提出它的召回器",
  "Score, comparable only within this list": "得分，仅在本列表内可比",
  "Rate {}": "给“{}”评分",
  "Rate {} of {}": "评 {} 星（共 {} 星）",
  "Nothing yet. Click something.": "还没有行为，点点看。",
  "Theme: automatic": "主题：自动",
  "Theme: light": "主题：浅色",
  "Theme: dark": "主题：深色",
  "history": "历史",
  "encoding": "编码",
  "retrieval": "召回",
  "ranking": "排序",
  "reranking": "重排",
  "explaining": "解释",
};

/** The language of the page: what was chosen on it, else what the browser prefers. */
export function language() {
  const chosen = localStorage.getItem(KEY);
  if (chosen === "en" || chosen === "zh") return chosen;
  const known = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag === "en" || tag === "zh");
  return known ?? "en";
}

/** A text in the page's language, with each `{}` filled in. */
export function say(text, ...values) {
  const words = language() === "zh" ? CHINESE[text] ?? text : text;
  return words.replace(/\{\}/g, () => String(values.shift()));
}

/** Put what index.html says into the page's language; attributes are named in `data-say`. */
export function translate() {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-say]")) {
    for (const name of element.dataset.say.split(" ")) {
      const kept = `english-${name || "text"}`;
      const english = element.getAttribute(`data-${kept}`) ?? (name ? element.getAttribute(name) : element.textContent);
      element.setAttribute(`data-${kept}`, english);
      if (name) element.setAttribute(name, say(english));
      else element.textContent = say(english);
    }
  }
}

/** Change to the other language. */
export function switchLanguage() {
  localStorage.setItem(KEY, language() === "zh" ? "en" : "zh");
  translate();
}
