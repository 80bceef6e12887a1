// Starting and stopping an experiment.

import { dialog, field, h, toast } from "../../dom.js";
import { percent } from "../../format.js";
import { post } from "../../http.js";
import { say } from "../../i18n.js";

const path = (found, part) => `v1/experiments/${encodeURIComponent(found.name)}/${part}`;

/** Ask for a share and start, or take in more; resolves to whether anything changed. */
export async function start(found) {
  const running = found.status.state === "running";
  const least = Math.round(100 * found.status.share * 100) / 100;
  const share = h("input", { type: "number", min: running ? least : 0.01, max: 100, step: "any", required: true, value: 100 * (found.status.share || found.share) });
  const told = running
    ? h("p", {}, say("It has {}. It only grows: who is in it stays in the same arm.", percent(found.status.share, 1)))
    : h("p", {}, say("People see its arms from now on, on every server of this store within a second."));
  const content = [told, field(say("Share of users, in percent"), share)];
  const answer = await dialog({ title: running ? say("Take in more?") : say("Start this experiment?"), content, actions: [["start", running ? say("Take in more") : say("Start")]] });
  return answer !== "" && send(path(found, "start"), { share: Number(share.value) / 100 }, say("{} runs", found.name));
}

/** Start a new experiment with the share that its definition has; resolves to whether it runs. */
export const startAsDefined = (found) => send(path(found, "start"), { share: found.share }, say("{} runs", found.name));

/** Ask for a reason and stop it, or one of its arms, for good; resolves to whether anything changed. */
export async function stop(found, arm = null) {
  const reason = h("textarea", { rows: 3, maxlength: 1000 });
  const content = [h("p", {}, say("For good: whom it had are served as if there were no experiment. It cannot be started again.")), field(say("Why"), reason, { optional: true })];
  const title = arm === null ? say("Stop {}?", found.name) : say("Stop arm {}?", arm);
  if (!await dialog({ title, content, actions: [["stop", say("Stop"), "danger"]] })) return false;
  return send(path(found, "stop"), { reason: reason.value, ...(arm === null ? {} : { arm }) }, say("Stopped"));
}

async function send(address, body, done) {
  try {
    await post(address, body);
  } catch (error) {
    if (error.status === undefined) throw error;
    toast(error.message, "bad");
    return false;
  }
  toast(done);
  return true;
}
