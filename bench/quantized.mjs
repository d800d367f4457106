/**
 * What a model loses with its linear layers in 8 or 4 bits: perplexity of texts, and bytes of all weights.
 *
 *     npm run build && node bench/quantized.mjs <model> <rows.jsonl> [rows]
 *
 * Texts are cut to 512 tokens. The loss in nats per token comes with the standard error of its paired difference over texts.
 */
import { createEncoder, readRows } from '../dist/data/index.js';
import { createEngine } from '../dist/engine/index.js';
import { loadModel } from '../dist/models/index.js';
import { sequenceLogProbs } from '../dist/parts/index.js';
import { loadTokenizer } from '../dist/tokenizer/index.js';

const print = (line) => process.stdout.write(`${line}\n`);
const [source, data, limit = '100'] = process.argv.slice(2);
const tokenizer = await loadTokenizer(source);
const rows = [];
for await (const row of readRows(data)) {
  rows.push(row);
  if (rows.length >= Number(limit)) break;
}
const engine = await createEngine();

const variants = [
  ['float32', undefined],
  ['8 bits, blocks of 32', { bits: 8, blockSize: 32 }],
  ['4 bits, blocks of 16', { bits: 4, blockSize: 16 }],
  ['4 bits, blocks of 32', { bits: 4, blockSize: 32 }],
  ['4 bits, blocks of 64', { bits: 4, blockSize: 64 }],
];
let reference;
print('| weights | MB | loss, nats per token | more than float32 | perplexity |\n|---|---:|---:|---:|---:|');
for (const [name, quantize] of variants) {
  const { model, parameters } = await loadModel(source, { quantize });
  const maxLength = Math.min(512, model.maxPositions);
  const encoder = createEncoder(tokenizer, { maxLength, learn: 'all' });
  const examples = rows.map((row) => encoder.supervised(row));
  const logProbs = await sequenceLogProbs(examples, { engine, model, parameters, batchSize: 4, bucket: 32 });
  const sums = Array.from(logProbs, (logProb) => -logProb);
  const counts = examples.map(({ ids, mask }) => ids.filter((_, t) => t > 0 && mask[t] === 1).length);
  const tokens = counts.reduce((a, b) => a + b, 0);
  const loss = sums.reduce((a, b) => a + b, 0) / tokens;
  reference ??= sums;
  const differences = sums.map((sum, i) => (sum - reference[i]) / (tokens / sums.length));
  const mean = differences.reduce((a, b) => a + b, 0) / differences.length;
  const variance = differences.reduce((a, b) => a + (b - mean) ** 2, 0) / (differences.length - 1);
  const error = Math.sqrt(variance / differences.length);
  const megabytes = (parameters.flat.byteLength + parameters.frozenBytes) / 1e6;
  print(
    `| ${name} | ${megabytes.toFixed(2)} | ${loss.toFixed(4)} | ${mean.toFixed(4)} ± ${error.toFixed(4)} | ${Math.exp(loss).toFixed(3)} |`,
  );
}
engine.dispose();
