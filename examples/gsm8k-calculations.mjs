/**
 * Sums and differences of GSM8K's solutions as rows for a verifiable reward, and a model of 0.6 million parameters for them.
 *
 *     node examples/gsm8k-calculations.mjs train.jsonl test.jsonl runs/calc
 *     npx heed sft --model runs/calc/base --data runs/calc/demonstrations.jsonl --output runs/calc/sft …
 *     npx heed grpo --model runs/calc/sft/model --data runs/calc/train.jsonl --reward exact-answer …
 *
 * Rows of both files need GSM8K's calculator marks, `<<48+24=72>>`, in `solution_with_calculator` or `answer`. A row is made
 * of each sum or difference of two whole numbers below 100: `{prompt: "48+24=", answer: "72"}`. One in five, and those that
 * only the test file has, are held out. Demonstrations are drawn at random, none of them held out: they stand for
 * pretraining. The tokenizer has a token per byte.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRng } from 'heed';
import { readRows } from 'heed/data';
import { buildModel, saveModel } from 'heed/models';
import { allocateParameters, initialize } from 'heed/nn';
import { trainBpe } from 'heed/tokenizer';

const [trainFile, testFile, folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node examples/gsm8k-calculations.mjs <train rows> <test rows> <folder>');
  process.exit(2);
}

/** Calculation → result, of all rows of a file. */
async function calculations(file) {
  const found = new Map();
  for await (const { columns } of readRows(file)) {
    const solution = String(columns.solution_with_calculator ?? columns.answer);
    for (const [, calculation, result] of solution.matchAll(/<<([^=<>]+)=([^<>]+)>>/g)) {
      const text = calculation.replace(/\s/g, '');
      if (/^\d\d?[-+]\d\d?$/.test(text) && /^\d+$/.test(result.trim())) found.set(text, result.trim());
    }
  }
  return found;
}
const rng = createRng(0);
const known = await calculations(trainFile);
const others = [...(await calculations(testFile))].filter(([text]) => !known.has(text));
const drawn = [...known].map((entry, i) => ({ entry, heldOut: rng.split('held out').uniform(i) < 0.2 }));
const test = [...others, ...drawn.filter(({ heldOut }) => heldOut).map(({ entry }) => entry)];
const train = drawn.filter(({ heldOut }) => !heldOut).map(({ entry }) => entry);

const demonstrations = new Map();
for (let i = 0; i < 20_000; i++) {
  const [x, y] = [1 + rng.integer(99, i, 0), 1 + rng.integer(99, i, 1)];
  const [text, result] = x > y && rng.uniform(i, 2) < 0.5 ? [`${x}-${y}`, x - y] : [`${x}+${y}`, x + y];
  if (!test.some(([held]) => held === text)) demonstrations.set(text, String(result));
}
const lines = (list) =>
  list
    .map(([text, answer]) => `${JSON.stringify({ prompt: `${text}=`, completion: answer, answer })}\n`)
    .join('');

const tokenizer = trainBpe(['0123456789+-='], {
  vocabSize: 258,
  specialTokens: { bos: '<s>', eos: '</s>' },
});
const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: tokenizer.vocabSize,
  hidden_size: 128,
  intermediate_size: 352,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  initializer_range: 0.02,
  tie_word_embeddings: false,
  bos_token_id: tokenizer.bosId,
  eos_token_id: tokenizer.eosId,
};
const parameters = allocateParameters(buildModel(config).parameters);
initialize(parameters, createRng(0).split('initialize'));
mkdirSync(folder, { recursive: true });
saveModel(join(folder, 'base'), { config, parameters, files: Object.fromEntries(tokenizer.files) });
writeFileSync(join(folder, 'demonstrations.jsonl'), lines([...demonstrations]));
writeFileSync(join(folder, 'train.jsonl'), lines(train));
writeFileSync(join(folder, 'test.jsonl'), lines(test));
console.log(
  `${train.length} calculations to train on, ${test.length} to test on, ${demonstrations.size} drawn, in ${folder}`,
);
