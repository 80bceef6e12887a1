// What compiles and what does not: `npm run check`.
import { Client, type Schemas } from "../src/index.js";

const client = new Client({ url: "http://localhost:8000", apiKey: "key" });

export async function answersAreTyped(): Promise<string[]> {
  const page = await client.recommend({ user_id: "42", n: 3, session: ["1", { item_id: "2", event: "like" }] });
  const score: number | null | undefined = page.items[0]?.score;
  // @ts-expect-error: there is no such field
  page.item_ids;
  const ranked: Schemas["RankAnswer"] = await client.rank({ items: ["1"] });
  const text: string = await client.metrics();
  for await (const event of client.iterHistory("42", { limit: 10 })) {
    const when: number = event.timestamp;
    console.log(when);
  }
  return [String(score), ...ranked.left_out, text];
}

export async function questionsAreTyped(): Promise<void> {
  // @ts-expect-error: a list without its items
  await client.rank({ user_id: "42" });
  // @ts-expect-error: a field that does not exist
  await client.recommend({ usr_id: "42" });
  // @ts-expect-error: a number is no text
  await client.similar({ item_id: 260 });
  // @ts-expect-error: no such parameter
  await client.listItems({ limt: 3 });
  await client.recordEvent({ user_id: "42", item_id: "260", event: "a type of this shop" });
  await client.patchItems({ items: [{ item_id: "260", expires_at: null }] });
}
