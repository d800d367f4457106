/**
 * What speculative decoding gains: tokens per second without and with it, and the share of guesses that are kept.
 *
 *     npm run build && node bench/speculative.mjs <model> [draft] [tokens]
 *
 * Two prompts: one that asks to write a text again, where looking up is at its best, and one that asks for something new.
 * Greedy, one row at a time, the way speculation is meant for; runs with and without alternate and the best of three counts.
 */
import { createRng } from '../dist/core/index.js';
import { createEncoder, toRows } from '../dist/data/index.js';
import { createEngine } from '../dist/engine/index.js';
import { createGenerator } from '../dist/generate/index.js';
import { loadModel } from '../dist/models/index.js';
import { loadTokenizer } from '../dist/tokenizer/index.js';

const print = (line) => process.stdout.write(`${line}\n`);
const [source, given, tokens = '64'] = process.argv.slice(2);
const maxNewTokens = Number(tokens);
const tokenizer = await loadTokenizer(source);
const target = await loadModel(source);
const draft = given === undefined || given === '' ? undefined : await loadModel(given);
const engine = await createEngine();
const clock = () => performance.now();
const generator = createGenerator({ engine, ...target, draft, clock, prepack: false });
const encoder = createEncoder(tokenizer, { maxLength: target.model.maxPositions });
const text =
  'The old gardener watered the roses in the morning. The young baker carried warm bread to the market. The old gardener watered the beans in the evening.';
const chat = tokenizer.chatTemplate !== undefined;
const promptOf = (content) => (chat ? [{ role: 'user', content }] : content);
const prompts = [
  ['again', `Write this text again, word for word: ${text}${chat ? '' : ` ${text.slice(0, 40)}`}`],
  ['new', 'Tell me how a gardener spends the day.'],
].map(([name, content]) => [name, encoder.prompt(toRows([{ prompt: promptOf(content) }])[0]).ids]);

async function measure(ids, speculate) {
  const before = { ...generator.speculated };
  const start = clock();
  const [completion] = await generator.generate([ids], {
    ...{ temperature: 0, topK: 0, topP: 1, maxNewTokens, rng: createRng(1), speculate },
    stopIds: new Set([tokenizer.eosId]),
  });
  const seconds = (clock() - start) / 1000;
  const guessed = generator.speculated.guessed - before.guessed;
  return {
    rate: completion.ids.length / seconds,
    share: (generator.speculated.kept - before.kept) / guessed,
  };
}

print('| prompt | guesses | tokens/s | ratio to none | guesses kept |\n|---|---:|---:|---:|---:|');
for (const [name, ids] of prompts) {
  const counts = [0, 2, 4, 8];
  const best = counts.map(() => ({ rate: 0, share: Number.NaN }));
  for (let repeat = 0; repeat < 4; repeat++) {
    for (const [i, count] of counts.entries()) {
      const run = await measure(ids, count);
      // The first run compiles.
      if (repeat > 0 && run.rate > best[i].rate) best[i] = run;
    }
  }
  counts.forEach((count, i) => {
    const kept = count === 0 ? '' : `${Math.round(100 * best[i].share)} %`;
    print(
      `| ${name} | ${count} | ${best[i].rate.toFixed(1)} | ${(best[i].rate / best[0].rate).toFixed(2)} | ${kept} |`,
    );
  });
}
generator.dispose();
engine.dispose();
