/**
 * What constraints cost: ms to make one, ms of the first mask of its start, and µs per token on the host.
 *
 *     npm run build && node bench/constraints.mjs <model>
 *
 * Host time is that outside the engine, per token of 16 rows; the rows without constraint are drawn by blocks of the vocabulary.
 */
import { createRng } from '../dist/core/index.js';
import { createEngine } from '../dist/engine/index.js';
import { createGenerator, textConstraints } from '../dist/generate/index.js';
import { loadModel } from '../dist/models/index.js';
import { loadTokenizer } from '../dist/tokenizer/index.js';

const print = (line) => process.stdout.write(`${line}\n`);
const [source] = process.argv.slice(2);
const tokenizer = await loadTokenizer(source);
const { model, parameters } = await loadModel(source);
const engine = await createEngine();
const clock = () => performance.now();
const generator = createGenerator({ engine, model, parameters, clock, prepack: false });
const string = { type: 'string' };
const person = {
  type: 'object',
  properties: { name: string, age: { type: 'integer' }, tags: { type: 'array', items: string } },
  required: ['name', 'age', 'tags'],
};
const specs = [
  ['none', {}],
  ['choice of 3', { choice: ['one thing', 'two things', 'nothing at all'] }],
  ['regex (word, space)', { regex: '(?:[a-z]+ )+' }],
  ['regex, all texts', { regex: '[^]*' }],
  ['JSON schema', { jsonSchema: person }],
  ['JSON object', { jsonObject: true }],
];
const begin = clock();
textConstraints(tokenizer)({ regex: 'a' });
print(`vocabulary of ${tokenizer.vocabSize} read in ${(clock() - begin).toFixed(0)} ms\n`);
const make = textConstraints(tokenizer);
make({ regex: 'a' });
print(
  '| constraint | make, ms | first mask, ms | tokens | host, µs per token | tokens/s |\n|---|---:|---:|---:|---:|---:|',
);
for (const [name, spec] of specs) {
  let start = clock();
  const constraint = make(spec);
  const made = clock() - start;
  start = clock();
  void constraint?.start.allowed;
  const mask = clock() - start;
  const options = {
    ...{ temperature: 1, topK: 0, topP: 1, maxNewTokens: 64, rng: createRng(1), batchSize: 16 },
    stopIds: new Set([tokenizer.eosId]),
    ...(constraint === undefined ? {} : { constraint }),
  };
  const prompts = Array.from({ length: 16 }, () => tokenizer.encode('Once upon a time'));
  await generator.generate(prompts, options);
  const before = { ...generator.time };
  const completions = await generator.generate(prompts, options);
  const total = generator.time.total - before.total;
  const host = total - (generator.time.engine - before.engine);
  const tokens = completions.reduce((sum, { ids }) => sum + ids.length, 0);
  print(
    `| ${name} | ${made.toFixed(1)} | ${mask.toFixed(2)} | ${tokens} | ${((1000 * host) / tokens).toFixed(0)} | ${Math.round((1000 * tokens) / total)} |`,
  );
}
generator.dispose();
engine.dispose();
