/**
 * Linear layers in 8 or 4 bits, used: accuracy and time of a reward model on pairs, or tokens per second of a language model.
 *
 *     npm run build && node bench/quantized-use.mjs <model> <rows.jsonl> [rows]
 *
 * A reward model needs rows with `chosen` and `rejected`, a language model rows with `prompt`. Variants take turns, three
 * times; the best time of each counts. The difference of accuracies comes with the standard error of its paired difference.
 */
import { createRng } from '../dist/core/index.js';
import { createEncoder, readRows } from '../dist/data/index.js';
import { createEngine } from '../dist/engine/index.js';
import { createGenerator } from '../dist/generate/index.js';
import { loadModel } from '../dist/models/index.js';
import { rewardModelScorer } from '../dist/parts/index.js';
import { loadTokenizer } from '../dist/tokenizer/index.js';

const print = (line) => process.stdout.write(`${line}\n`);
const [source, data, limit = '200'] = process.argv.slice(2);
const tokenizer = await loadTokenizer(source);
const rows = [];
for await (const row of readRows(data)) {
  rows.push(row);
  if (rows.length >= Number(limit)) break;
}
const engine = await createEngine();
const clock = () => performance.now();
const variants = [];
for (const [name, quantize] of [
  ['float32', undefined],
  ['8 bits', { bits: 8 }],
  ['4 bits', { bits: 4 }],
]) {
  const { model, parameters } = await loadModel(source, { quantize });
  const megabytes = (parameters.flat.byteLength + parameters.frozenBytes) / 1e6;
  variants.push({ name, model, parameters, megabytes, seconds: [] });
}
const { model } = variants[0];
const isReward = model.parameters.some(({ name }) => name === 'score.weight');
const encoder = createEncoder(tokenizer, { maxLength: model.maxPositions, truncation: 'keep-end' });
const best = (numbers) => Math.min(...numbers);

if (isReward) {
  const pairs = rows.map((row) => encoder.preference(row));
  const items = pairs.flatMap(({ chosen, rejected }) =>
    [chosen, rejected].map(({ ids }) => ({ prompt: '', completion: '', promptIds: [], completionIds: ids })),
  );
  for (const variant of variants)
    variant.scorer = rewardModelScorer({ engine, ...variant, batchSize: 16, bucket: 32 });
  for (let repeat = 0; repeat < 4; repeat++) {
    for (const variant of variants) {
      const start = clock();
      const scores = await variant.scorer.score(items);
      // The first run compiles.
      if (repeat > 0) variant.seconds.push((clock() - start) / 1000);
      variant.scores = scores;
    }
  }
  print(`${pairs.length} pairs\n`);
  print(
    '| weights | MB | accuracy | less than float32 | mean distance of scores | pairs/s |\n|---|---:|---:|---:|---:|---:|',
  );
  const right = ({ scores }) => pairs.map((_, i) => Number(scores[2 * i] > scores[2 * i + 1]));
  const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
  for (const variant of variants) {
    const lost = right(variants[0]).map((one, i) => one - right(variant)[i]);
    const error = Math.sqrt(mean(lost.map((x) => (x - mean(lost)) ** 2)) / lost.length);
    const distance = mean(variant.scores.map((score, i) => Math.abs(score - variants[0].scores[i])));
    const speed = (pairs.length / best(variant.seconds)).toFixed(0);
    print(
      `| ${variant.name} | ${variant.megabytes.toFixed(2)} | ${mean(right(variant)).toFixed(3)} | ${mean(lost).toFixed(3)} ± ${error.toFixed(3)} | ${distance.toFixed(4)} | ${speed} |`,
    );
    variant.scorer.dispose();
  }
} else {
  print('| weights | MB | batch | tokens/s | ratio to float32 |\n|---|---:|---:|---:|---:|');
  const prompts = rows.map((row) => encoder.prompt(row).ids.slice(-64));
  for (const batch of [1, 16]) {
    const given = Array.from({ length: batch }, (_, i) => prompts[i % prompts.length]);
    for (const variant of variants) {
      variant.seconds = [];
      variant.generator = createGenerator({ engine, ...variant, prepack: false });
    }
    for (let repeat = 0; repeat < 4; repeat++) {
      for (const variant of variants) {
        const start = clock();
        await variant.generator.generate(given, {
          ...{ temperature: 1, topK: 0, topP: 1, maxNewTokens: 32, rng: createRng(1), batchSize: batch },
          stopIds: new Set(),
        });
        if (repeat > 0) variant.seconds.push((clock() - start) / 1000);
      }
    }
    for (const variant of variants) {
      const ratio = best(variants[0].seconds) / best(variant.seconds);
      const speed = ((32 * batch) / best(variant.seconds)).toFixed(0);
      print(
        `| ${variant.name} | ${variant.megabytes.toFixed(2)} | ${batch} | ${speed} | ${ratio.toFixed(2)} |`,
      );
      variant.generator.dispose();
    }
  }
}
engine.dispose();
