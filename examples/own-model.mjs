/**
 * A model of your own, from nothing, on the texts of a preference file: trains a tokenizer, draws the weights of a Llama of
 * about 7 million parameters, and writes both as a Hugging Face folder, with the rows to pretrain it on.
 *
 *     node examples/own-model.mjs pairs.jsonl runs/own
 *     npx heed sft --model runs/own/base --data runs/own/texts.jsonl --packing --max-length 256 --output runs/own/sft
 *     npx heed dpo --model runs/own/sft/model --data pairs.jsonl --max-length 256 --output runs/own/dpo
 *
 * Rows need `prompt`, `chosen` and `rejected` as texts. Both answers go into the pretraining rows: the model should know
 * how each kind is written before it learns which is preferred.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRng } from 'heed';
import { readRows } from 'heed/data';
import { buildModel, saveModel } from 'heed/models';
import { allocateParameters, initialize } from 'heed/nn';
import { trainBpe } from 'heed/tokenizer';

const [pairsFile, folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node examples/own-model.mjs <preference rows> <folder>');
  process.exit(2);
}

const texts = new Map();
for await (const { where, columns } of readRows(pairsFile)) {
  const { prompt, chosen, rejected } = columns;
  for (const completion of [chosen, rejected]) {
    if (typeof prompt !== 'string' || typeof completion !== 'string') {
      console.error(`${where}: expected prompt, chosen and rejected as texts`);
      process.exit(2);
    }
    texts.set(`${prompt}\n${completion}`, { prompt, completion });
  }
}
const rows = [...texts.values()];
const tokenizer = trainBpe(
  rows.slice(0, 3000).map(({ prompt, completion }) => `${prompt}\n${completion}`),
  { vocabSize: 2048, specialTokens: { bos: '<s>', eos: '</s>' } },
);
const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: tokenizer.vocabSize,
  hidden_size: 256,
  intermediate_size: 688,
  num_hidden_layers: 8,
  num_attention_heads: 8,
  num_key_value_heads: 8,
  max_position_embeddings: 512,
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
writeFileSync(join(folder, 'texts.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
console.log(`${parameters.count} parameters in ${join(folder, 'base')}, ${rows.length} rows in texts.jsonl`);
