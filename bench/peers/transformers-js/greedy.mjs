/**
 * Greedy tokens of models that `heed convert --to onnx` wrote, by transformers.js in Node and by heed: they must be equal.
 *
 *     npm run build
 *     npm install --prefix bench/peers/transformers-js --ignore-scripts
 *     node bench/peers/transformers-js/greedy.mjs [model folder or .gguf file …]
 *
 * Without arguments: the tiny models of test/golden/data. A model with a tokenizer is given chat or plain prompts, which
 * transformers.js tokenises too (ids must be equal); a model without one is given ids.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AutoModelForCausalLM, AutoTokenizer, env, Tensor } from '@huggingface/transformers';
import { createEngine, createGenerator, createRng, loadModel, loadTokenizer } from '../../../dist/index.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const print = (line) => process.stdout.write(`${line}\n`);
const NEW_TOKENS = 32;
const prompts = ['What is gravity?', 'Write a haiku about the sea.', 'def fibonacci(n):\n'];

const golden = join(root, 'test/golden/data');
const tiny = readdirSync(golden)
  .filter(
    (name) =>
      existsSync(join(golden, name, 'recorded.json')) && existsSync(join(golden, name, 'model.safetensors')),
  )
  .filter((name) => !/score|dynamic|bert|siglip/.test(name))
  .map((name) => join(golden, name));
const sources = process.argv.length > 2 ? process.argv.slice(2) : tiny;

const place = mkdtempSync(join(tmpdir(), 'heed-tjs-'));
env.allowRemoteModels = false;
env.localModelPath = place;
const engine = await createEngine();
let failed = 0;
try {
  for (const source of sources) {
    const name = basename(source).replace(/\.gguf$/, '');
    const cli = join(root, 'dist/cli/main.js');
    const converted = spawnSync(
      process.execPath,
      [cli, 'convert', source, join(place, name), '--to', 'onnx', '--quiet'],
      { encoding: 'utf8' },
    );
    if (converted.status !== 0) throw new Error(converted.stderr);
    const { model, parameters } = await loadModel(source);
    const tokenizer = await loadTokenizer(source).catch(() => undefined);
    const stop = tokenizer?.eosId;
    const rows =
      tokenizer === undefined
        ? [[5, 17, 2, 2, 11], [1], [9, 14, 3, 8, 6, 4, 2]]
        : await promptIds(name, tokenizer);
    const generator = createGenerator({ engine, model, parameters });
    const theirs = await AutoModelForCausalLM.from_pretrained(name, { dtype: 'fp32' });
    for (const ids of rows) {
      const maxNewTokens = Math.min(NEW_TOKENS, model.maxPositions - ids.length);
      const [own] = await generator.generate([ids], {
        ...{ temperature: 0, topK: 0, topP: 1, maxNewTokens, rng: createRng(0) },
        stopIds: new Set(stop === undefined ? [] : [stop]),
      });
      const result = await theirs.generate({
        inputs: new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
        attention_mask: new Tensor('int64', new BigInt64Array(ids.length).fill(1n), [1, ids.length]),
        max_new_tokens: maxNewTokens,
        do_sample: false,
        ...(stop === undefined ? { eos_token_id: -1 } : {}),
      });
      const got = Array.from(result.data, Number).slice(ids.length);
      const same = got.length === own.ids.length && got.every((id, at) => id === own.ids[at]);
      if (!same) failed++;
      print(
        `${same ? 'equal ' : 'DIFFER'} ${name}: ${got.length} tokens after ${ids.length}${same ? '' : `\n  heed            ${own.ids}\n  transformers.js ${got}`}`,
      );
    }
    generator.dispose();
    await theirs.dispose();
  }
} finally {
  engine.dispose();
  rmSync(place, { recursive: true });
}
process.exitCode = failed === 0 ? 0 : 1;

/** Ids of the prompts, by both tokenizers; through the chat template where there is one. */
async function promptIds(name, tokenizer) {
  const theirs = await AutoTokenizer.from_pretrained(name);
  return prompts.map((prompt) => {
    const text =
      tokenizer.chatTemplate === undefined
        ? prompt
        : theirs.apply_chat_template([{ role: 'user', content: prompt }], {
            tokenize: false,
            add_generation_prompt: true,
          });
    const addSpecial = tokenizer.chatTemplate === undefined;
    const own = tokenizer.encode(text, { addSpecial, parseSpecial: true });
    const got = Array.from(theirs(text, { add_special_tokens: addSpecial }).input_ids.data, Number);
    if (got.join() !== own.join())
      throw new Error(`${name}: ids differ for ${JSON.stringify(text)}: ${own} and ${got}`);
    return own;
  });
}
